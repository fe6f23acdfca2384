import { assertEquals, assertMatch } from "@std/assert";
import { hostClock, logErrors } from "./clock.ts";

Deno.test("what fails in a timer is said, and ends nothing", async () => {
  const { promise: said, resolve: say } = Promise.withResolvers<string>();
  hostClock(say).after(0, () => {
    throw new Error("too many open files");
  });
  assertMatch(await said, /^Error: too many open files\n/);
});

Deno.test("a timer that is stopped does not run", async () => {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const said: string[] = [];
  const clock = hostClock((line) => said.push(line));
  const stop = clock.after(0, () => said.push("ran"));
  stop();
  clock.after(0, resolve);
  await over;
  assertEquals(said, []);
});

Deno.test("a task that succeeds says nothing", () => {
  const done: string[] = [];
  logErrors(() => done.push("done"), (line) => done.push(line))();
  assertEquals(done, ["done"]);
});
