import { assertEquals, assertRejects } from "@std/assert";
import { hashName, sha512 } from "./names.ts";

Deno.test("hashName() gives the chain names of the reference", async () => {
  const name = (text: string, prefix = "CNI-") => hashName(28, prefix, text);
  assertEquals(await name("test1234"), "CNI-2bbe0c48b91a7d1b8a6753a8");
  assertEquals(
    await name("testalongnamethatdoesnotmakesense1234"),
    "CNI-374f33fe84ab0ed84dcdebe3",
  );
  assertEquals(await name("mynetdummy"), "CNI-1b29d9511ed2bb3134d925d5");
  assertEquals(await name("test1234", "CNI-PREFIX-"), "CNI-PREFIX-2bbe0c48b91a7d1b8");
  assertEquals(
    await name("testalongnamethatdoesnotmakesense1234", "CNI-PREFIX-"),
    "CNI-PREFIX-374f33fe84ab0ed84",
  );
});

Deno.test("hashName() gives the device names of the reference", async () => {
  assertEquals(await hashName(15, "bwp", "cni-plugin-bandwidth-testdummy"), "bwpa8eda89404b7");
});

Deno.test("hashName() tells a thousand texts apart and gives each the same again", async () => {
  const texts = Array.from({ length: 1000 }, (_, index) => `text ${index}`);
  const names = await Promise.all(texts.map((text) => hashName(8, "", text)));
  assertEquals(new Set(names).size, 1000);
  assertEquals(await hashName(8, "", "text 7"), names[7]);
  for (const name of names) assertEquals(name.length, 8);
});

Deno.test("hashName() refuses lengths that leave nothing of the hash or exceed it", async () => {
  for (const [length, prefix] of [[0, ""], [4, "CNI-"], [3, "CNI-"], [129, ""]] as const) {
    await assertRejects(() => hashName(length, prefix, "text"), RangeError, "invalid length");
  }
  assertEquals(await hashName(128, "", "text"), await sha512("text"));
});
