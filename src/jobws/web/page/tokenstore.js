/** Keeps the token of this tab: no other tab sees it, and it is gone with the tab. */

/** `name` tells the tokens of several bridges of one origin apart. */
export function TokenStore(name) {
  let token;
  const stored = (use) => {
    try {
      return use(sessionStorage);
    } catch {} // the browser keeps nothing, so the token lasts as long as the page
  };
  token = stored((storage) => storage.getItem(name)) ?? undefined;
  return {
    get token() {
      return token;
    },
    keep(given) {
      token = given;
      stored((storage) => storage.setItem(name, given));
    },
    drop() {
      token = undefined;
      stored((storage) => storage.removeItem(name));
    },
  };
}
