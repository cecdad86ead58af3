/** The page's icons, as lines in a square of 24. */

import { svg } from './dom.js';

const PATHS = {
  key: 'M14 14a5 5 0 1 0-4-4L4 16v4h4v-3h3v-3zM16 8h.01',
  theme: 'M12 4a8 8 0 1 0 8 8 6 6 0 0 1-8-8z',
  search: 'M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM16 16l4 4',
};

/** Returns an icon. What it means must stand beside it, or in an `aria-label` around it. */
export const icon = (name) =>
  svg(
    'svg',
    {
      class: 'svg-icon',
      viewBox: '0 0 24 24',
      'aria-hidden': 'true',
      fill: 'none',
      stroke: 'currentColor',
      'stroke-width': 1.8,
      'stroke-linecap': 'round',
      'stroke-linejoin': 'round',
    },
    svg('path', { d: PATHS[name] }),
  );
