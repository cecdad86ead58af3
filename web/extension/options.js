/** The options: which bridge, with which token. Saving asks the bridge who it sees. */

import { everything, forgetToken, use } from './store.js';

const find = (id) => document.getElementById(id);
const ALLOW = `jobws serve --allow-origin ${location.origin}`;

/** Returns the URL of a bridge as it is kept, without a slash at its end. Throws an Error that says what is wrong. */
function checked(text) {
  const url = new URL(text);
  if (!['http:', 'https:'].includes(url.protocol)) throw new Error('The URL begins with http:// or https://.');
  if (url.username || url.password) throw new Error('A URL is no place for a password. Give a token instead.');
  return url.origin + url.pathname.replace(/\/+$/, '');
}

/** Returns what a bridge says of a token, as a text and whether it is fine. */
async function ask(url, token) {
  try {
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(`${url}/whoami`, { headers, cache: 'no-store' });
    const { sub, scope, expires, detail } = await response.json();
    if (!response.ok) return [detail ?? `The bridge answers ${response.status}.`, false];
    const until = expires ? `, until ${new Date(expires).toLocaleString()}` : '';
    return [`The bridge answers${sub ? ` ${sub}` : ''}${until}. Rights: ${scope || 'decided elsewhere'}`, true];
  } catch {
    return [`No bridge answers at ${url}. Is it running, and does it allow this extension (${ALLOW})?`, false];
  }
}

function answer(text, fine) {
  find('answer').textContent = text;
  find('answer').dataset.fine = fine;
}

async function show() {
  const { bridge } = await everything();
  if (document.activeElement !== find('url')) find('url').value = bridge?.url ?? '';
  find('token').placeholder = bridge?.token ? 'there is one; leave empty to keep it' : '';
  find('forget').hidden = !bridge?.token;
}

find('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    const url = checked(find('url').value);
    const { bridge } = await everything();
    const token = find('token').value.trim() || (bridge?.url === url ? bridge.token : '');
    find('token').value = '';
    await use(url, token);
    answer('…', true);
    answer(...(await ask(url, token)));
  } catch (error) {
    answer(error.message, false);
  }
});
find('forget').addEventListener('click', async () => {
  const { bridge } = await everything();
  await forgetToken(bridge.token);
  await use(bridge.url, '');
  answer('The token is forgotten.', true);
});
chrome.storage.onChanged.addListener(show);
find('flag').textContent = ALLOW;
show();
