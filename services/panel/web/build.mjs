// Bundles the page for the browser, or its unit tests for node (--tests). No network.
import { build } from "esbuild";
import { readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = dirname(fileURLToPath(import.meta.url));
const dist = join(web, "..", "static", "dist");

if (process.argv.includes("--tests")) {
  const tests = (await readdir(join(web, "tests"))).filter((name) => name.endsWith(".test.ts"));
  await build({
    stdin: {
      contents: tests.map((name) => `import "./${name.replace(/\.ts$/, "")}";`).join("\n"),
      resolveDir: join(web, "tests"),
    },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node18",
    sourcemap: "inline",
    outfile: join(web, "..", "..", "..", "node_modules", ".cache", "earshot-tests", "all.mjs"),
    logLevel: "warning",
  });
} else {
  await rm(dist, { recursive: true, force: true });
  await build({
    // One bundle per page that has a script of its own; what two of them share is a third file.
    entryPoints: Object.fromEntries(
      (await readdir(join(web, "src", "entries"))).map((name) => [name.replace(/\.ts$/, ""), join(web, "src", "entries", name)]),
    ),
    bundle: true,
    splitting: true,
    minify: true,
    platform: "browser",
    format: "esm",
    target: ["chrome109", "firefox115", "safari16"],
    legalComments: "linked",
    outdir: dist,
    logLevel: "info",
  });
}
