/** What elements say when the bridge refuses something. */

const TOKEN = 'This bridge needs a token: set JobwsElement.token, or the property token of this element.';

/** Returns an error as a sentence for the author of a page. */
export const sentence = ({ code, message }) => (code === 'unauthenticated' ? TOKEN : message);
