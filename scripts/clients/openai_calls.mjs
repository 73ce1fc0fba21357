// The calls of openai-node, as those of the Python clients: see case.py.
import OpenAI from "openai";
import { readFileSync } from "node:fs";

const version = JSON.parse(readFileSync("node_modules/openai/package.json")).version;
const [MODEL, ADAPTER, TOOLS] = ["gutenberg", "json", "tools"];
const client = new OpenAI({ baseURL: process.env.PEFT_SERVE + "/v1", apiKey: "any", maxRetries: 0 });
const schema = {
  type: "object",
  properties: { place: { enum: ["sea", "sky"] }, many: { type: "integer", minimum: 0, maximum: 9 } },
  required: ["place", "many"],
  additionalProperties: false,
};
const asked = [{ role: "user", content: "Where is the ship?" }];
const assert = (ok, what) => { if (!ok) throw new Error(what ?? "not so"); };
const valid = (text) => assert(["sea", "sky"].includes(JSON.parse(text).place), text);

async function call(what, f) {
  let fault = null;
  try { await f(); } catch (e) { fault = `${e.name}: ${e.message}`.split("\n")[0].slice(0, 300); }
  console.log(JSON.stringify({ client: `openai-node ${version}`, call: what, fault }));
}

await call("completions and chat, whole and streamed", async () => {
  assert((await client.completions.create({ model: ADAPTER, prompt: "The sea", max_tokens: 4 })).choices[0].text);
  let text = "";
  for await (const c of await client.chat.completions.create({ model: MODEL, messages: asked, max_tokens: 8, temperature: 0, stream: true })) text += c.choices[0]?.delta?.content ?? "";
  const whole = await client.chat.completions.create({ model: MODEL, messages: asked, max_tokens: 8, temperature: 0 });
  assert(text === whole.choices[0].message.content, text);
});
await call("a schema and a tool, by .stream", async () => {
  const s = client.chat.completions.stream({ model: MODEL, messages: asked, max_tokens: 100, response_format: { type: "json_schema", json_schema: { name: "p", strict: true, schema } } });
  valid(await s.finalContent());
  const t = client.chat.completions.stream({ model: TOOLS, messages: asked, max_tokens: 200, tools: [{ type: "function", function: { name: "look", parameters: schema } }], tool_choice: "required" });
  valid((await t.finalMessage()).tool_calls[0].function.arguments);
});
await call("responses, whole, and by .stream with a tool", async () => {
  const asks = { model: MODEL, input: "Where?", max_output_tokens: 200, temperature: 0, text: { format: { type: "json_schema", name: "p", strict: true, schema } } };
  const whole = await client.responses.create(asks);
  valid(whole.output_text);
  const s = client.responses.stream(asks);
  assert((await s.finalResponse()).output[0].content[0].text === whole.output_text);
  const t = client.responses.stream({ model: TOOLS, input: "Where?", max_output_tokens: 200, tools: [{ type: "function", name: "look", parameters: schema, strict: true }], tool_choice: "required" });
  valid((await t.finalResponse()).output[0].arguments);
});
await call("embeddings, models, errors", async () => {
  assert((await client.embeddings.create({ model: MODEL, input: "a", dimensions: 8 })).data[0].embedding.length === 8);
  assert((await client.models.list()).data.length > 2);
  try { await client.chat.completions.create({ model: "nobody", messages: asked }); assert(false, "it was taken"); } catch (e) { assert(e.code === "model_not_found", e.message); }
});
