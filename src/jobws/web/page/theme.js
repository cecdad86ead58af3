/** Light or dark: as the system says, or as the viewer chose in this browser. */

import { h } from './dom.js';
import { icon } from './icons.js';

const KEY = 'jobws theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

function chosen() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off
  }
}

/** Applies the theme that was chosen before. Returns a button that changes between light and dark. */
export function themeButton() {
  const apply = (theme) => theme && (document.documentElement.dataset.theme = theme);
  apply(chosen());
  const change = () => {
    const now = chosen() ?? (dark.matches ? 'dark' : 'light');
    const next = now === 'dark' ? 'light' : 'dark';
    apply(next);
    try {
      localStorage.setItem(KEY, next);
    } catch {} // then it lasts as long as the page
  };
  return h(
    'button.icon',
    { title: 'Light or dark', 'aria-label': 'Light or dark', onclick: change },
    icon('theme'),
  );
}
