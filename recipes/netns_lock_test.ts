import { assertEquals } from "@std/assert";
import { DryRun } from "../ns/machine.ts";
import { FakeHost } from "../ns/testing.ts";
import { withNetnsLock } from "./netns_lock.ts";

const own = { path: "/proc/self/ns/net" };

Deno.test("withNetnsLock() lets one in at a time, and the next one after a failure, too", async () => {
  const host = new FakeHost();
  const seen: string[] = [];
  const task = (name: string, end: Promise<void>) =>
    withNetnsLock(host, own, async () => {
      seen.push(`${name} in`);
      await end;
      seen.push(`${name} out`);
    });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const first = task("first", promise).catch(() => seen.push("first failed"));
  const second = task("second", Promise.resolve());
  await new Promise((resolve) => setTimeout(resolve, 50));
  reject(new Error("on purpose"));
  resolve();
  await Promise.all([first, second]);
  // Either may come first; never both at once.
  assertEquals(seen.indexOf("second out") - seen.indexOf("second in"), 1);
  assertEquals(seen.indexOf("first failed") - seen.indexOf("first in"), 1);
  assertEquals(host.lines, []);
});

Deno.test("a dry run locks nothing", async () => {
  const inside = () => withNetnsLock(new DryRun(), own, () => Promise.resolve(1));
  assertEquals(await withNetnsLock(new DryRun(), { path: "/nowhere" }, inside), 1);
});
