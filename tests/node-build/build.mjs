// What is served of the adapter and of the page, from their sources: node build.mjs FOLDER (make web)
//
// jobws.js loads jobws-http.js when no WebSocket gets through. jobws-all.js is both, for service workers, in which
// nothing can be loaded later. jobws-queues.js is what pages load beside one of them to watch whole queues. elements.js has
// the custom elements, and loads jobws.js. esbuild makes one file of the modules, terser makes it small.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { minify } from 'terser';

// Properties that the modules use among themselves, and that get short names. None may be one of the protocol's, of what
// users see (jobws.d.ts), or of the language's.
const INTERNAL = `acknowledge acknowledged again alive answer anywhere ask asked base begin check chosen concerns connection
  deliver end endpoint fail failure fallback fire frame handler handles idle item kind leave messages move names nudge
  polls receive refuse release requests sent settings share stop stopped strict subscription subscriptions take tells told
  turn unsent upgrade want wanted watcher`.split(/\s+/);

const sources = new URL('../../src/jobws/web/src/', import.meta.url).pathname;
const absWorkingDir = new URL('../../', import.meta.url).pathname; // jobws-all.js has paths from here, wherever this is called
const folder = process.argv[2];
let mangleCache = {}; // the same names in all of them
await mkdir(folder, { recursive: true });

// The elements load the adapter that lies beside them.
const beside = {
  name: 'beside',
  setup: ({ onResolve }) => onResolve({ filter: /^\.\.\/jobws\.js$/ }, () => ({ path: './jobws.js', external: true })),
};

async function make(name, source, external) {
  const made = await build({
    entryPoints: [join(sources, source)],
    absWorkingDir,
    bundle: true,
    external,
    plugins: [beside],
    format: 'esm',
    target: 'es2022',
    charset: 'utf8',
    mangleProps: new RegExp(`^(${INTERNAL.join('|')})$`),
    mangleCache,
    write: false,
  });
  mangleCache = made.mangleCache;
  const { code } = await minify(made.outputFiles[0].text, { module: true, ecma: 2022, compress: { hoist_funs: true, unsafe_arrows: true } });
  await writeFile(join(folder, name), `// jobws, MIT. Sources: src/\n${code}\n`);
}

await make('jobws.js', 'jobws.js', ['./jobws-http.js']);
await make('jobws-http.js', 'jobws-http.js', []);
await make('jobws-all.js', 'jobws.js', []);
await make('jobws-queues.js', 'jobws-queues.js', []);
await make('elements.js', 'elements/elements.js', []);

// The page at `/`, which loads the adapter beside it, and has some parts of the elements in itself.
await make('page.js', '../page/main.js', ['./jobws.js', './jobws-queues.js']);
const styles = { entryPoints: [join(sources, '../page/page.css')], bundle: true, minify: true, charset: 'utf8', write: false };
const { outputFiles } = await build({ ...styles, banner: { css: '/* jobws, MIT. Sources: page/ */' } });
await writeFile(join(folder, 'page.css'), outputFiles[0].contents);
