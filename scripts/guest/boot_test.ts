import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Growth, startWords } from "./boot.ts";
import type { GuestKernel } from "./kernel.ts";
import { platforms } from "./kernel.ts";

const kernel: GuestKernel = {
  image: "/c/boot/vmlinuz-6",
  initrd: "/c/initrd",
  modules: "/c/lib/modules/6",
  platform: platforms.x86_64,
};

Deno.test("startWords() keeps a guest on its processor and away from help by it", () => {
  const line = startWords(kernel, { share: "/tmp/s", processor: 3 }).join(" ");
  assertStringIncludes(line, "/start.sh /tmp/s taskset --cpu-list 3 qemu-system-x86_64 ");
  assertStringIncludes(line, "-accel tcg");
  assertStringIncludes(line, 'share="/tmp/s" modules="/c/lib/modules/6"');
  assert(!startWords(kernel, { share: "/tmp/s" }).includes("taskset"));
});

Deno.test("startWords() differ between architectures in program, machine and console", () => {
  const arm = startWords({ ...kernel, platform: platforms.aarch64 }, { share: "/tmp/s" });
  assert(arm.includes("qemu-system-aarch64"));
  assert(arm.includes("virt,memory-backend=memory"));
  assertStringIncludes(arm.join(" "), "console=ttyAMA0");
});

Deno.test("Growth copies whole lines as they come, and the last one in the end", () => {
  const path = Deno.makeTempFileSync();
  let text = "";
  const to = {
    // A terminal may take less than it is given.
    writeSync(data: Uint8Array) {
      text += String.fromCharCode(data[0]!);
      return 1;
    },
  };
  const append = (data: string | Uint8Array) => {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    Deno.writeFileSync(path, bytes, { append: true });
  };
  {
    using growth = new Growth(path, { prefix: "1| ", to });
    assertEquals([growth.copy(), text], [false, ""]);
    append("a\n\nb");
    assertEquals([growth.copy(), text], [true, "1| a\n1| \n"]);
    append("c\nd");
    assertEquals([growth.copy(), text], [true, "1| a\n1| \n1| bc\n"]);
  }
  assertEquals(text, "1| a\n1| \n1| bc\n1| d");
  Deno.removeSync(path);
});
