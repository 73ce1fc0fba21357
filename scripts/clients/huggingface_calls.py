import lorax
import text_generation
from case import ADAPTER, BASE, FUNCTION, PROMPT, SCHEMA, TOOLS, Client, valid
from huggingface_hub import InferenceClient

hub = Client("huggingface_hub")
api = InferenceClient(BASE)


@hub.call("text_generation, whole, with details, streamed")
def _():
    whole = api.text_generation(PROMPT, max_new_tokens=8, do_sample=False)
    assert whole == "".join(api.text_generation(PROMPT, max_new_tokens=8, do_sample=False, stream=True))
    assert api.text_generation(PROMPT, max_new_tokens=8, details=True, decoder_input_details=True).details.generated_tokens == 8


@hub.call("text_generation, an adapter, a grammar")
def _():
    assert api.text_generation(PROMPT, adapter_id=ADAPTER, max_new_tokens=8)
    valid(api.text_generation("Where?", max_new_tokens=100, grammar={"type": "json", "value": SCHEMA}))


@hub.call("chat_completion, whole, streamed, with a schema and a tool")
def _():
    asked = [{"role": "user", "content": "Where is the ship?"}]
    assert api.chat_completion(asked, max_tokens=8).choices[0].message.content
    assert "".join(c.choices[0].delta.content or "" for c in api.chat_completion(asked, max_tokens=8, stream=True))
    valid(api.chat_completion(asked, max_tokens=100, response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}).choices[0].message.content)
    r = InferenceClient(BASE).chat_completion(asked, model=None, max_tokens=100, tools=None)
    assert r.choices
    r = InferenceClient(base_url=BASE + "/v1").chat.completions.create(model=TOOLS, messages=asked, max_tokens=100, tools=[{"type": "function", "function": FUNCTION}], tool_choice="required")
    valid(r.choices[0].message.tool_calls[0].function.arguments)


@hub.call("feature_extraction, sentence_similarity")
def _():
    assert InferenceClient(BASE + "/embed").feature_extraction("The sea").size > 8
    assert len(InferenceClient(BASE + "/similarity").sentence_similarity("The sea", other_sentences=["The sky", "A ship"])) == 2


generation = Client("text-generation")


@generation.call("generate, generate_stream, chat")
def _():
    tgi = text_generation.Client(BASE)
    whole = tgi.generate(PROMPT, max_new_tokens=8)
    assert whole.details.generated_tokens == 8
    assert whole.generated_text == "".join(r.token.text for r in tgi.generate_stream(PROMPT, max_new_tokens=8))
    assert tgi.chat([{"role": "user", "content": "Where?"}], max_tokens=8).choices[0].message.content


predibase = Client("lorax-client")


@predibase.call("generate and generate_stream by an adapter, merged adapters, a schema")
def _():
    own = lorax.Client(BASE)
    whole = own.generate(PROMPT, adapter_id=ADAPTER, max_new_tokens=8)
    assert whole.generated_text == "".join(r.token.text for r in own.generate_stream(PROMPT, adapter_id=ADAPTER, max_new_tokens=8))
    merged = lorax.MergedAdapters(ids=[ADAPTER, "sst2"], weights=[0.5, 0.5], merge_strategy="linear", density=1.0)
    assert own.generate(PROMPT, merged_adapters=merged, max_new_tokens=4).generated_text is not None
    valid(own.generate("Where?", max_new_tokens=100, response_format={"type": "json_object", "schema": SCHEMA}).generated_text)

