/** Resolves as the promise does, or rejects with `error` if it takes longer. */
export function within(promise, milliseconds, error) {
  let timer;
  const over = new Promise((_, reject) => {
    timer = setTimeout(reject, milliseconds, error);
  });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
}
