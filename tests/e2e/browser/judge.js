// Who says whether a page can be used by everybody: axe-core, and a look for what would have to be scrolled sideways.

import { readFileSync } from 'node:fs';

const AXE = readFileSync(new URL(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

/** What axe-core finds, as `rule: element`. */
export async function violations(browser) {
  const script = `${AXE};
    return axe.run({ preload: false }).then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map((node) => id + ': ' + node.html)));`;
  return browser.run(script);
}

/** What would have to be scrolled to from side to side. */
export async function overflowing(browser) {
  return browser.run(`const { clientWidth, scrollWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll('body *')].filter((one) => {
      const { left, right } = one.getBoundingClientRect();
      return left < 0 || right > clientWidth;
    });
    return [scrollWidth + ' px', ...wide.map((one) => one.outerHTML.slice(0, 120))];`);
}
