/** Builds the page's elements. Text becomes text nodes only, so nothing that a job holds is ever HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * Returns an element. `properties` are attributes; a function is a handler (`onclick`); false, null and undefined set
 * nothing.
 * `children` are elements, texts, numbers and lists of these.
 */
export function h(tag, properties, ...children) {
  const [name, ...classes] = tag.split('.');
  return fill(document.createElement(name), { class: classes.join(' ') || null, ...properties }, children);
}

/** Returns an SVG element, as `h` does. */
export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {}))
    if (typeof value === 'function') element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  element.append(...children.flat(9).filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Sets the text of an element, unless it has this text already. Returns whether it was another one. */
export function say(element, text) {
  const before = element.textContent;
  if (before === `${text}`) return false;
  element.textContent = text;
  return true;
}

/** Sets or removes a class of an element. */
export const mark = (element, name, on) => element.classList.toggle(name, !!on);

/** Returns a function that runs `draw` once before the next frame, however often it is called, until its `stop()` is called. */
export function perFrame(draw) {
  let asked = 0;
  let closed = false;
  const later = () => {
    asked ||=
      closed ||
      requestAnimationFrame(() => {
        asked = 0;
        draw();
      });
  };
  later.stop = () => {
    closed = true;
    cancelAnimationFrame(asked);
  };
  return later;
}

/** Calls `draw` now and every `milliseconds` while the page is visible. Returns a function that ends this. */
export function whileVisible(draw, milliseconds = 1000) {
  const timer = setInterval(() => document.hidden || draw(), milliseconds);
  const shown = () => document.hidden || draw();
  document.addEventListener('visibilitychange', shown);
  draw();
  return () => {
    clearInterval(timer);
    document.removeEventListener('visibilitychange', shown);
  };
}
