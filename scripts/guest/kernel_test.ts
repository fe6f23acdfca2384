import { assertEquals, assertRejects } from "@std/assert";
import { cacheFolder, kernelPackage, moduleFiles, platforms, putInPlace } from "./kernel.ts";

Deno.test("kernelPackage() reads what the meta package depends on", () => {
  const text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-57-cloud-amd64\n";
  assertEquals(kernelPackage(text), "linux-image-6.1.0-57-cloud-amd64");
  assertEquals(kernelPackage(""), undefined);
});

Deno.test("moduleFiles() keeps the order of loading, and each file once", () => {
  const text = "builtin virtio\ninsmod /m/ring.ko \ninsmod /m/pci.ko \ninsmod /m/ring.ko \n";
  assertEquals(moduleFiles(text), ["/m/ring.ko", "/m/pci.ko"]);
});

Deno.test("kernels stand below the user's cache folder", () => {
  const folder = (env: Record<string, string>) => cacheFolder((name) => env[name]);
  assertEquals(folder({ HOME: "/home/x" }), "/home/x/.cache/denocni/guest");
  assertEquals(folder({ HOME: "/home/x", XDG_CACHE_HOME: "/c" }), "/c/denocni/guest");
});

Deno.test("every architecture that Deno has is known", () => {
  assertEquals(
    platforms[Deno.build.arch].debian,
    { x86_64: "amd64", aarch64: "arm64" }[Deno.build.arch],
  );
});

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const names = (dir: string) => [...Deno.readDirSync(dir)].map(({ name }) => name);

Deno.test("putInPlace() leaves nothing of what was cut off", () =>
  inFolder(async (dir) => {
    const make = async (beside: string) => {
      await Deno.mkdir(beside);
      throw new Error("cut off");
    };
    await assertRejects(() => putInPlace(`${dir}/cache/it`, make), Error, "cut off");
    assertEquals(names(`${dir}/cache`), []);
  }));

Deno.test("putInPlace() lets two at once make the same folder", () =>
  inFolder(async (dir) => {
    const make = async (beside: string) => {
      await Deno.mkdir(beside);
      await Deno.writeTextFile(`${beside}/file`, "whole");
    };
    await Promise.all([1, 2].map(() => putInPlace(`${dir}/it`, make)));
    assertEquals([names(dir), await Deno.readTextFile(`${dir}/it/file`)], [["it"], "whole"]);
  }));
