/** What the promise gives, or an error if that takes longer. */
export function within(promise, milliseconds, late) {
  let timer;
  const over = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
}
