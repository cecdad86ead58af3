// What is served of the adapter, from its sources: node build.mjs FOLDER (make adapter)
//
// jobws.js loads jobws-http.js when no WebSocket gets through. jobws-all.js is both, for service workers, in which
// nothing can be loaded later. esbuild makes one file of the modules, terser makes it small.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { minify } from 'terser';

const sources = new URL('../../src/jobws/web/src/', import.meta.url).pathname;
const folder = process.argv[2];
await mkdir(folder, { recursive: true });

async function make(name, source, external) {
  const { outputFiles } = await build({
    entryPoints: [join(sources, source)],
    bundle: true,
    external,
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    write: false,
  });
  const { code } = await minify(outputFiles[0].text, { module: true, ecma: 2020, compress: { passes: 3 } });
  await writeFile(join(folder, name), `// jobws, MIT; the sources are beside it, in src/\n${code}\n`);
}

await make('jobws.js', 'jobws.js', ['./jobws-http.js']);
await make('jobws-http.js', 'jobws-http.js', []);
await make('jobws-all.js', 'jobws.js', []);
