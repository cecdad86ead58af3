/** What elements say when the bridge refuses something. */

const TOKEN = 'This bridge needs a token: set JobwsElement.token, or for another bridge than JobwsElement.url the property token of this element.';

/** Returns an error as a sentence for the author of a page. */
export const sentence = ({ code, message }) => (code === 'unauthenticated' ? TOKEN : message);
