// Makes dist/, which is committed: `--check` builds into a temporary place and compares byte for byte, `--tests` bundles
// the tests for `node --test`. The limit is on what a page loads.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CORE_GZIP_MAX = 12 * 1024;
const here = dirname(fileURLToPath(import.meta.url));
const mode = process.argv[2];

const common = { absWorkingDir: here, bundle: true, format: "esm", target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
const tsc = (...args) => execFileSync(join(here, "node_modules/.bin/tsc"), ["-p", ...args], { cwd: here, stdio: "inherit" });

async function dist(out) {
  await build({ ...common, entryPoints: ["src/index.ts"], outfile: join(out, "index.js") });
  await build({ ...common, entryPoints: ["src/index.ts"], outfile: join(out, "client.js"), minify: true });
  await build({ ...common, entryPoints: ["src/react.ts"], outfile: join(out, "react.js"), external: ["react", "./index.js"] });
  await build({ ...common, entryPoints: ["src/ai.ts"], outfile: join(out, "ai.js"), external: ["./index.js"] });
  tsc("tsconfig.types.json", "--outDir", out);
  const size = gzipSync(readFileSync(join(out, "client.js")), { level: 9 }).length;
  console.log(`client.js: ${size} bytes gzipped, at most ${CORE_GZIP_MAX}`);
  if (size > CORE_GZIP_MAX) throw new Error("client.js is too large");
}

function files(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort();
}

if (mode === "--tests") {
  tsc("tsconfig.json");
  rmSync(join(here, "build"), { recursive: true, force: true });
  const tests = readdirSync(join(here, "test")).filter((name) => name.endsWith(".test.ts"));
  await build({ ...common, entryPoints: tests.map((name) => `test/${name}`), outdir: "build/test", platform: "node", packages: "external", sourcemap: "inline" });
} else if (mode === "--check") {
  const fresh = mkdtempSync(join(tmpdir(), "tokencast-client-"));
  try {
    await dist(fresh);
    const [now, then] = [files(fresh), files(join(here, "dist"))];
    const differs = [...new Set([...now, ...then])].filter(
      (name) => !now.includes(name) || !then.includes(name) || !readFileSync(join(fresh, name)).equals(readFileSync(join(here, "dist", name))),
    );
    if (differs.length > 0) throw new Error(`dist/ is not what src/ says, run npm run build: ${differs.join(", ")}`);
    console.log("dist/ is what src/ says");
  } finally {
    rmSync(fresh, { recursive: true });
  }
} else {
  rmSync(join(here, "dist"), { recursive: true, force: true });
  await dist(join(here, "dist"));
}
