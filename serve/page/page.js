'use strict';

const at = id => document.getElementById(id);

function make(tag, properties, ...children) {
	const element = Object.assign(document.createElement(tag), properties);
	element.append(...children);
	return element;
}

const keyStore = 'peft-serve-key';
const atOnce = 5; // answers; browsers have six connections to a server, and the page asks for more than answers

let caller = null; // what /v1/caller says of us
let version = null;
let adapters = [];
let counts = new Map(); // by adapter; empty where we may not see them
let chosen = null; // names, '' for the base; null: not chosen yet
let running = null; // the AbortController of answers that come
let bundle = null; // the file to publish
let upload = null;
let timer = 0;

// Asking the server

function headers() {
	const key = sessionStorage.getItem(keyStore);
	return key ? {Authorization: 'Bearer ' + key} : {};
}

async function ask(path, options = {}) {
	const key = sessionStorage.getItem(keyStore);
	const response = await fetch(path, {...options, headers: {...headers(), ...options.headers}});
	if (response.ok) return response;
	if (response.status === 401 && key === sessionStorage.getItem(keyStore)) askForKey();
	throw new Error(faultIn(await response.text(), response.status));
}

// faultIn is what an error's body says.
function faultIn(body, status) {
	try {
		const {error} = JSON.parse(body);
		return error.message ?? error;
	} catch {
		return `the server answered ${status}`;
	}
}

function notice(text, fault = false) {
	at('notice').textContent = text;
	at('notice').classList.toggle('fault', fault);
}

// What there is

async function refresh() {
	clearTimeout(timer);
	try {
		caller ??= await (await ask('/v1/caller')).json();
		version ??= await (await ask('/version')).json();
		const [listed, numbers] = await Promise.all([
			ask('/v1/adapters').then(r => r.json()),
			fetch('/metrics', {headers: headers()}).then(r => r.ok ? r.text() : ''),
		]);
		adapters = listed.adapters;
		counts = countsIn(numbers);
		show(listed);
		if (at('notice').dataset.lost) {
			delete at('notice').dataset.lost;
			notice('');
		}
	} catch (error) {
		if (!at('key-dialog').open) {
			at('notice').dataset.lost = 'yes';
			notice(error instanceof TypeError ? 'The server does not answer.' : error.message, true);
		}
	}
	clearTimeout(timer);
	const soon = adapters.some(a => a.state === 'loading');
	if (!document.hidden && !at('key-dialog').open) timer = setTimeout(refresh, soon ? 500 : 5000);
}

// countsIn reads requests, and prompt tokens, by adapter from the metrics.
function countsIn(text) {
	const found = new Map();
	for (const [, series, label, value] of text.matchAll(/^peft_(requests|prompt_tokens|cached_prompt_tokens)_total\{adapter="((?:[^"\\]|\\.)*)"[^}]*\} (\S+)$/gm)) {
		const name = label.replace(/\\(.)/g, '$1');
		if (!found.has(name)) found.set(name, {requests: 0, prompt_tokens: 0, cached_prompt_tokens: 0});
		found.get(name)[series] += Number(value);
	}
	return found;
}

function show(listed) {
	at('base').textContent = version.base;
	at('version').textContent = `peft-serve ${version.version}, ${version.precision}, ${version.kernels}`;
	at('who').textContent = 'You are ' + caller.tenant + (caller.key && caller.key !== caller.tenant ? `, with the key ${caller.key}` : '');
	at('change-key').hidden = at('forget-key').hidden = !caller.key;
	at('api').hidden = Boolean(caller.key); // a link carries none
	at('mode-chat').disabled = !caller.chat && !adapters.length;
	showModes();
	at('memory').textContent = listed.bytes_budget ? `${size(listed.bytes_used)} of ${size(listed.bytes_budget)} in memory` : '';
	at('find-label').hidden = adapters.length < 9 && !at('find').value;
	const none = at('none');
	none.hidden = adapters.length > 0;
	none.textContent = caller.uploads ? 'There are no adapters yet.' : 'There are no adapters that you may see.';
	at('publish-section').hidden = !(caller.uploads && may('publish'));
	at('publishable').textContent = caller.publishable ? `Names that you may publish ${caller.publishable}.` : '';
	showExamples();
	showChips();
	showRows();
}

// showModes offers classes where the base has nothing else, or an adapter a head.
function showModes() {
	if (!caller) return;
	const classifies = caller.classifies && (!caller.generates || adapters.some(a => a.classes));
	at('mode-classes').parentElement.hidden = !classifies;
	for (const id of ['mode-text', 'mode-chat']) at(id).parentElement.hidden = !caller.generates;
	if (classifies && !caller.generates) at('mode-classes').checked = true;
	else if (!classifies && at('mode-classes').checked) at('mode-text').checked = true;
	at('tokens-label').hidden = at('temperature-label').hidden = at('mode-classes').checked;
}

const may = right => caller.rights.includes(right);
const isFound = name => name.toLowerCase().includes(at('find').value.trim().toLowerCase());

function showChips() {
	const names = ['', ...new Set(adapters.filter(a => a.state !== 'draining').map(a => a.name))];
	if (!chosen) {
		const sound = names.filter(n => !adapters.some(a => a.name === n && a.state === 'failed'));
		chosen = new Set(sound.length <= 7 ? sound : sound.slice(0, 4));
	}
	for (const name of chosen) if (!names.includes(name)) chosen.delete(name);
	reconcile(at('chips'), names.filter(n => n === '' || isFound(n)), n => n, name => {
		const box = make('input', {type: 'checkbox', value: name, checked: chosen.has(name)});
		box.addEventListener('change', () => {
			if (box.checked) chosen.add(name); else chosen.delete(name);
			showSend();
		});
		return make('label', {}, box, name || 'The base alone');
	});
	showSend();
}

// showExamples offers the prompts that built-in adapters come with.
function showExamples() {
	const items = adapters.filter(a => a.example);
	at('examples').hidden = !items.length;
	reconcile(at('example-list'), items, a => a.name, a => {
		const b = make('button', {type: 'button', className: 'quiet', textContent: a.name});
		b.addEventListener('click', () => {
			at('prompt').value = a.example;
			at('mode-text').checked = true;
			at('prompt').focus();
		});
		return b;
	});
}

function showSend() {
	at('send').disabled = !chosen.size || !may('use');
	at('send').textContent = chosen.size > 1 ? `Send to ${chosen.size}` : 'Send';
	at('send').title = may('use') ? '' : 'Your key may not generate.';
}

function showRows() {
	const countable = counts.size > 0 || may('metrics') || may('admin');
	at('requests-title').textContent = countable ? 'Requests' : '';
	const rows = adapters.filter(a => isFound(a.name)).map(a => ({...a, count: countable && !(a.canary_percent > 0) ? counts.get(a.name) ?? {requests: 0} : null}));
	reconcile(at('rows'), rows, a => JSON.stringify([a.name, aside(a) && a.digest, {...a, last_used: 0}]), rowOf, a => a.name + (aside(a) ? ' ' + a.digest : ''));
}

// reconcile makes the children of a parent those of items. One whose signature
// is as it was stays; the focus stays with the item it was in.
function reconcile(parent, items, signature, build, identity = signature) {
	const before = new Map([...parent.children].map(c => [c.dataset.signature, c]));
	const focused = document.activeElement;
	const holder = [...parent.children].find(c => c.contains(focused));
	const children = items.map(item => {
		const mark = signature(item);
		const child = before.get(mark) ?? build(item);
		child.dataset.signature = mark;
		child.dataset.identity = identity(item);
		return child;
	});
	if (children.length === parent.children.length && children.every((c, i) => c === parent.children[i])) return;
	parent.replaceChildren(...children);
	if (!holder) return;
	const heir = children.find(c => c.dataset.identity === holder.dataset.identity);
	if (heir === holder) focused.focus();
	else heir?.querySelector(`[data-action="${focused.dataset.action}"]`)?.focus();
}

// aside tells a canary, and a version that was replaced, from what a name means.
const aside = a => a.state === 'draining' || a.canary_percent > 0;

const states = {known: 'cold', loading: 'loading', resident: 'resident', failed: 'failed', draining: 'replaced, still in use'};

function rowOf(a) {
	const cell = (label, className, ...children) => {
		const td = make('td', {className}, ...children);
		if (label && children.length) td.dataset.label = label; // shown where there is no room for columns
		return td;
	};
	const name = cell('', 'name', a.name);
	if (a.method) name.append(make('span', {className: 'aside', textContent: a.method + (a.rank ? `, rank ${a.rank}` : '')}));
	if (a.error) name.append(make('span', {className: 'fault', textContent: a.error}));
	if (a.warning) name.append(make('span', {className: 'aside', textContent: a.warning}));
	const state = make('span', {className: 'state ' + a.state, textContent: (a.canary_percent ? `canary, ${a.canary_percent} %, ` : '') + states[a.state] + (a.pinned ? ', pinned' : '')});
	const requests = [];
	if (a.count) {
		requests.push(a.count.requests.toLocaleString('en'));
		if (a.count.cached_prompt_tokens > 0) requests.push(make('span', {className: 'aside', textContent: `${Math.round(100 * a.count.cached_prompt_tokens / a.count.prompt_tokens)} % of prompts cached`}));
	}
	const actions = [];
	if (!aside(a)) actions.push(button('Versions', 'versions', a.name, () => showVersions(a.name)));
	if (!caller.read_only && !aside(a)) {
		if (may('admin')) actions.push(button(a.pinned ? 'Unpin' : 'Pin', 'pin', a.name, () => change(a, a.pinned ? 'unpin' : 'pin')));
		if ((may('publish') || may('admin')) && !a.source.startsWith('builtin://')) actions.push(button('Delete', 'delete', a.name, () => confirmDelete(a)));
	}
	return make('tr', {},
		name, cell('', '', state), cell('In memory:', 'number', ...(a.bytes ? [size(a.bytes)] : [])),
		cell('Requests:', 'number', ...requests), cell('Version:', 'version', ...(a.digest ? [make('span', {textContent: a.digest.slice(0, 12), title: a.digest})] : [])), cell('', '', ...actions));
}

function button(text, action, name, act) {
	const b = make('button', {type: 'button', textContent: text, ariaLabel: `${text} ${name}`});
	b.dataset.action = action;
	b.addEventListener('click', act);
	return b;
}

function size(bytes) {
	const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
	let unit = 0;
	while (bytes >= 1024 && unit < units.length - 1) {
		bytes /= 1024;
		unit++;
	}
	return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

// Changing adapters

const pathOf = name => '/v1/adapters/' + encodeURIComponent(name);

async function change(adapter, action) {
	notice(action === 'pin' ? `${adapter.name} is being loaded to stay.` : '');
	try {
		await ask(`${pathOf(adapter.name)}/${action}`, {method: 'POST'});
		notice(action === 'pin' ? `${adapter.name} stays in memory.` : `${adapter.name} may leave the memory again.`);
	} catch (error) {
		notice(error.message, true);
	}
	refresh();
}

async function showVersions(name) {
	const dialog = at('versions-dialog');
	try {
		const {versions} = await (await ask(`${pathOf(name)}/versions`)).json();
		at('versions-title').textContent = `Versions of ${name}`;
		at('versions').replaceChildren(...versions.map(v => versionOf(name, v)));
		if (!dialog.open) dialog.showModal();
	} catch (error) {
		dialog.close();
		notice(error.message, true);
	}
}

function versionOf(name, v) {
	const what = [v.digest ? v.digest.slice(0, 12) : 'not read yet', v.live ? 'live' : v.canary_percent ? `canary, ${v.canary_percent} %` : 'kept'];
	if (v.uploaded) what.push(`uploaded ${new Date(v.uploaded).toLocaleString('en')}`);
	const item = make('li', {}, make('span', {textContent: what.join(', '), title: v.digest ?? ''}));
	if (v.error) item.append(make('span', {className: 'fault', textContent: v.error}));
	if (!v.live && v.digest && !caller.read_only && (may('publish') || may('admin'))) item.append(button('Make live', 'rollback', v.digest.slice(0, 12), () => rollBack(name, v.digest)));
	return item;
}

async function rollBack(name, digest) {
	try {
		await ask(`${pathOf(name)}/rollback`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({digest})});
		notice(`Version ${digest.slice(0, 12)} of ${name} is live.`);
	} catch (error) {
		notice(error.message, true);
	}
	at('versions-dialog').close();
	refresh();
}

function confirmDelete(adapter) {
	at('delete-title').textContent = `Delete ${adapter.name}?`;
	at('delete-form').onsubmit = async event => {
		event.preventDefault();
		at('delete-dialog').close();
		try {
			await ask(pathOf(adapter.name), {method: 'DELETE'});
			notice(`${adapter.name} is deleted.`);
		} catch (error) {
			notice(error.message, true);
		}
		refresh();
	};
	at('delete-dialog').showModal();
}

at('versions-close').addEventListener('click', () => at('versions-dialog').close());
at('delete-cancel').addEventListener('click', () => at('delete-dialog').close());

// Answers

at('ask').addEventListener('submit', event => {
	event.preventDefault();
	if (!running) send();
});
at('prompt').addEventListener('keydown', event => {
	if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
		event.preventDefault();
		if (!at('send').disabled && !running) at('ask').requestSubmit();
	}
});
at('stop').addEventListener('click', () => running?.abort());
document.addEventListener('keydown', event => {
	if (event.key === 'Escape' && !document.querySelector('dialog[open]')) running?.abort();
});
for (const [id, all] of [['choose-all', true], ['choose-none', false]]) {
	at(id).addEventListener('click', () => {
		for (const box of at('chips').querySelectorAll('input')) if (box.checked !== all) box.click();
	});
}
at('find').addEventListener('input', () => { showChips(); showRows(); });

for (const id of ['mode-text', 'mode-chat', 'mode-classes']) at(id).addEventListener('change', showModes);

async function send() {
	const names = [...chosen];
	const classes = at('mode-classes').checked;
	const chat = at('mode-chat').checked;
	const body = {
		stream: true, stream_options: {include_usage: true}, max_tokens: at('tokens').valueAsNumber, temperature: at('temperature').valueAsNumber,
		...(chat ? {messages: [{role: 'user', content: at('prompt').value}]} : {prompt: at('prompt').value}),
	};
	const path = chat ? '/v1/chat/completions' : '/v1/completions';
	const control = running = new AbortController();
	at('stop').hidden = false;
	at('send').hidden = true;
	at('stop').focus();
	notice('');
	const cards = names.map(cardOf);
	at('answers').replaceChildren(...cards.map(c => c.element));
	const waiting = cards.values();
	if (classes) await classify(cards, at('prompt').value, control.signal);
	else await Promise.all(Array.from({length: atOnce}, async () => {
		for (const card of waiting) await answer(card, path, {...body, model: card.name || version.base}, control.signal);
	}));
	running = null;
	at('send').hidden = false;
	if (document.activeElement === at('stop')) at('send').focus();
	at('stop').hidden = true;
	const failed = cards.filter(c => c.failed).length;
	notice(control.signal.aborted ? 'Stopped.' : failed ? `${failed} of ${cards.length} did not answer.` : cards.length > 1 ? `All ${cards.length} have answered.` : 'Answered.');
	refresh();
}

function cardOf(name) {
	const text = make('p', {className: 'text'});
	const facts = make('p', {className: 'facts'});
	const element = make('article', {ariaBusy: 'true'}, make('h3', {textContent: name || 'The base alone'}), text, facts);
	return {name, element, text, facts, failed: false};
}

async function answer(card, path, body, signal) {
	const began = performance.now();
	const told = [];
	try {
		signal.throwIfAborted();
		const response = await ask(path, {method: 'POST', signal, headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
		let first = 0, tokens = 0, reason = '', whole = false;
		for await (const data of events(response.body)) {
			if (data === '[DONE]') {
				whole = true;
				break;
			}
			const event = JSON.parse(data);
			if (event.error) throw new Error(event.error.message);
			const choice = event.choices[0];
			const piece = choice?.text ?? choice?.delta?.content;
			if (piece) {
				first ||= performance.now();
				card.text.append(piece);
			}
			reason = choice?.finish_reason || reason;
			tokens = event.usage?.completion_tokens ?? tokens;
		}
		if (!whole) throw new Error('the connection ended before the answer did');
		const after = t => t - began < 1000 ? `${Math.round(t - began)} ms` : `${((t - began) / 1000).toFixed(1)} s`;
		told.push(`${tokens} ${tokens === 1 ? 'token' : 'tokens'} in ${after(performance.now())}` + (first ? `, the first after ${after(first)}` : '') + (reason === 'length' ? ', cut at the limit' : ''));
		const digest = response.headers.get('X-Adapter-Digest');
		if (digest) told.push(`version ${digest.slice(0, 12)}`);
		if (!card.text.textContent.trim()) card.text.append(make('span', {className: 'aside', textContent: 'An empty answer.'}));
	} catch (error) {
		card.failed = !signal.aborted;
		if (signal.aborted) told.push('stopped');
		else card.text.append(make('span', {className: 'fault', textContent: (card.text.textContent && '\n') + error.message}));
	}
	card.facts.append(...told.map(textContent => make('span', {textContent})));
	card.element.ariaBusy = 'false';
}

// classify asks for the classes of a text by all at once.
async function classify(cards, text, signal) {
	const began = performance.now();
	const names = cards.map(c => c.name || version.base);
	let tasks = [];
	try {
		const query = names.map(name => 'adapter=' + encodeURIComponent(name)).join('&');
		const response = await ask('/v1/classify?' + query, {method: 'POST', signal, headers: {'Content-Type': 'application/json'}, body: JSON.stringify({input: text})});
		const {tasks: several, ...one} = await response.json();
		tasks = several ?? [{...one, name: names[0], digest: response.headers.get('X-Adapter-Digest')}];
	} catch (error) {
		if (!signal.aborted) tasks = names.map(name => ({name, error}));
	}
	const took = `${Math.round(performance.now() - began)} ms for all`;
	for (const [i, card] of cards.entries()) {
		const task = tasks.find(t => t.name === names[i]);
		card.element.ariaBusy = 'false';
		card.failed = Boolean(task?.error);
		if (task?.error) card.text.append(make('span', {className: 'fault', textContent: task.error.message}));
		else if (task) card.text.append(classesIn(task.data[0]));
		card.facts.append(...[task ? took : 'stopped', task?.digest && `version ${task.digest.slice(0, 12)}`].filter(Boolean).map(textContent => make('span', {textContent})));
	}
}

// classesIn are the likeliest classes of a text, or the entities in it.
function classesIn({scores, entities}) {
	const line = (what, score) => `${what}  ${score.toFixed(3)}`;
	if (entities) return entities.map(e => line(`${e.word}: ${e.entity_group ?? e.entity}`, e.score)).join('\n') || 'No entities.';
	return scores.slice(0, 8).map(s => line(s.label, s.score)).join('\n');
}

// events are the data of server-sent events.
async function* events(stream) {
	const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
	for (let rest = '';;) {
		const {done, value} = await reader.read();
		if (done) return;
		const whole = (rest + value).split('\n\n');
		rest = whole.pop();
		for (const event of whole) if (event.startsWith('data: ')) yield event.slice(6);
	}
}

// Publishing

const offerText = at('bundle').textContent;
const archive = /\.(tar|tar\.gz|tgz|tar\.zst|tzst)$/i;

function offer(files) {
	if (at('publish-section').hidden || upload) return;
	if (files.length !== 1 || !archive.test(files[0].name)) {
		notice('Drop one archive, .tar.gz, .tar.zst or .tar, of the folder that save_pretrained wrote.', true);
		return;
	}
	bundle = files[0];
	notice('');
	at('bundle').textContent = `${bundle.name}, ${size(bundle.size)},`;
	at('choose').textContent = 'or choose another';
	at('name').value = bundle.name.replace(archive, '').replace(/[^\w.-]+/g, '-').replace(/^\.+/, '');
	at('publish-controls').hidden = false;
	showPublish();
	at('publish').scrollIntoView({block: 'nearest'});
	at('name').select();
}

function showPublish() {
	at('publish-button').textContent = adapters.some(a => a.name === at('name').value) ? 'Replace' : 'Publish';
}

function clearBundle() {
	upload = bundle = null;
	at('file').value = '';
	at('bundle').textContent = offerText;
	at('choose').textContent = 'or choose one';
	at('publish-controls').hidden = true;
}

const holdsFiles = event => event.dataTransfer?.types.includes('Files');
for (const type of ['dragenter', 'dragover']) {
	document.addEventListener(type, event => {
		if (!holdsFiles(event)) return;
		event.preventDefault();
		document.body.classList.add('dragging');
	});
}
document.addEventListener('dragleave', event => {
	if (!event.relatedTarget) document.body.classList.remove('dragging');
});
document.addEventListener('drop', event => {
	if (!holdsFiles(event)) return;
	event.preventDefault();
	document.body.classList.remove('dragging');
	offer(event.dataTransfer.files);
});
at('file').addEventListener('change', () => offer(at('file').files));
at('name').addEventListener('input', showPublish);
at('cancel-publish').addEventListener('click', () => {
	if (upload) upload.abort(); else clearBundle();
});

// Of what is sent, XMLHttpRequest alone tells how far it is.
at('publish').addEventListener('submit', event => {
	event.preventDefault();
	if (upload || !bundle) return;
	const name = at('name').value;
	upload = new XMLHttpRequest();
	upload.open('PUT', pathOf(name));
	for (const [header, value] of Object.entries(headers())) upload.setRequestHeader(header, value);
	upload.setRequestHeader('Content-Type', 'application/octet-stream');
	const busy = is => {
		at('progress').hidden = !is;
		at('publish-button').disabled = at('name').disabled = at('file').disabled = is;
	};
	upload.upload.onprogress = e => { if (e.lengthComputable) at('progress').value = e.loaded / e.total; };
	upload.onload = () => {
		busy(false);
		const {status, responseText} = upload;
		upload = null;
		if (status === 401) askForKey();
		if (status >= 300) {
			notice(faultIn(responseText, status), true);
			return;
		}
		clearBundle();
		chosen.add(name);
		notice(status === 201 ? `${name} is published.` : `${name} is replaced.`);
		refresh();
	};
	upload.onerror = () => {
		busy(false);
		upload = null;
		notice('The connection ended before the archive was sent: it may be larger than this server takes (--upload-limit).', true);
	};
	upload.onabort = () => {
		busy(false);
		clearBundle();
		notice('Nothing was published.');
	};
	notice(`${name} is being published.`);
	at('progress').value = 0;
	busy(true);
	upload.send(bundle);
});

// Keys

function askForKey() {
	if (at('key-dialog').open) return;
	at('key-why').textContent = sessionStorage.getItem(keyStore) ? 'The key you gave is not known here.' : '';
	at('key').value = '';
	at('key-dialog').showModal();
}

// begin forgets what the last key showed.
function begin() {
	caller = chosen = null;
	adapters = [];
	for (const id of ['rows', 'chips', 'answers']) at(id).replaceChildren();
	at('who').textContent = '';
	notice('');
	running?.abort();
	refresh();
}

at('key-form').addEventListener('submit', event => {
	event.preventDefault();
	sessionStorage.setItem(keyStore, at('key').value.trim());
	at('key-dialog').close();
	begin();
});
at('key-cancel').addEventListener('click', () => at('key-dialog').close());
at('key-dialog').addEventListener('close', () => {
	if (caller) return;
	at('change-key').hidden = false;
	notice('This server asks for a key.', true);
});
at('change-key').addEventListener('click', () => {
	at('key-why').textContent = '';
	at('key').value = '';
	at('key-dialog').showModal();
});
at('forget-key').addEventListener('click', () => {
	sessionStorage.removeItem(keyStore);
	at('forget-key').hidden = true;
	begin();
});

document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
refresh().then(() => { if (caller?.chat && !adapters.some(a => a.example)) at('mode-chat').checked = true; });
