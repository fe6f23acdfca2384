import { assertEquals } from "@std/assert";
import { memoryFolder } from "./pure.ts";

Deno.test("files in memory are used where programs may be started from them", () => {
  const mounts = (options: string, type = "tmpfs") =>
    `proc /proc proc rw 0 0\n${type} /dev/shm ${type} ${options} 0 0\n`;
  assertEquals(memoryFolder(mounts("rw,nosuid,nodev")), "/dev/shm");
  assertEquals(memoryFolder(mounts("rw,nosuid,nodev,noexec,relatime")), undefined);
  assertEquals(memoryFolder(mounts("ro")), undefined);
  assertEquals(memoryFolder(mounts("rw", "ext4")), undefined);
  assertEquals(memoryFolder(""), undefined);
});

Deno.test("of two file systems at one place the later one counts", () => {
  const mounts = "tmpfs /dev/shm tmpfs rw,noexec 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n";
  assertEquals(memoryFolder(mounts), "/dev/shm");
});
