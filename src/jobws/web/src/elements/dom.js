/** Makes nodes of a page. Values only ever become text, properties and attributes, so none of them can become HTML. */

/** Returns an element with these properties, or attributes where the element has no such property, and children. */
export function h(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/**
 * Sets the text of a node, unless it has this text already: to set it again would lose the user's selection. Returns whether the
 * text was another one.
 */
export function write(node, text) {
  if (node.textContent === text) return false;
  node.textContent = text;
  return true;
}

/** Shows these texts in a node, one beside the other. If there are none, the node is hidden. */
export function writeAll(node, texts) {
  while (node.children.length > texts.length) node.lastChild.remove();
  while (node.children.length < texts.length) node.append(h('span'));
  texts.forEach((text, index) => write(node.children[index], text));
  node.hidden = !texts.length;
}

/** Returns a link to `text`, if it is a URL of http or https; otherwise the text itself. */
export function linked(text) {
  if (!/^https?:\/\/\S+$/i.test(text) || !URL.canParse(text)) return text;
  return h('a', { href: text, rel: 'noopener noreferrer', target: '_blank', textContent: text });
}

const dirty = new Set();
let frame = null;

/** Calls `render` once before the next frame, however often this is called. A hidden page renders when it is visible again. */
export function soon(render) {
  dirty.add(render);
  frame ??= requestAnimationFrame(() => {
    frame = null;
    const all = [...dirty];
    dirty.clear();
    for (const each of all) each();
  });
}
