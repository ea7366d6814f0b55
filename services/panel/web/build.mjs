// Bundles the page for the browser, or its unit tests for node (--tests). No network.
import { build } from "esbuild";
import { copyFile, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const web = dirname(fileURLToPath(import.meta.url));
const dist = join(web, "..", "static", "dist");
const modules = join(web, "..", "..", "..", "node_modules");

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
    outfile: join(modules, ".cache", "earshot-tests", "all.mjs"),
    logLevel: "warning",
  });
} else {
  // Beside the old one, which stays until the new one is whole.
  const fresh = `${dist}.${process.pid}`;
  const built = build({
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
    outdir: fresh,
    logLevel: "info",
  });
  await built.catch(async () => {
    await rm(fresh, { recursive: true, force: true });
    process.exit(1);
  });
  await copyFile(join(modules, "uplot", "dist", "uPlot.min.css"), join(fresh, "uplot.css"));
  await rm(dist, { recursive: true, force: true });
  await rename(fresh, dist);
}
