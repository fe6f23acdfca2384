import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { passedSocket } from "./door.ts";
import { openPassed } from "./passed.ts";

const passed: readonly [pid: string | undefined, count: string | undefined, fd?: number][] = [
  [undefined, undefined],
  ["7", undefined],
  [undefined, "1"],
  ["8", "1"],
  ["7", "0"],
  ["7", "no"],
  ["7", "1", 3],
];

for (const [pid, count, descriptor] of passed) {
  Deno.test(`LISTEN_PID ${pid}, LISTEN_FDS ${count}`, () => {
    assertEquals(passedSocket({ pid, count }, 7), descriptor);
  });
}

Deno.test("several passed sockets are refused", () => {
  assertThrows(
    () => passedSocket({ pid: "7", count: "2" }, 7),
    Error,
    "Too many (2) FDs passed through socket activation",
  );
});

Deno.test("a descriptor that is no socket is refused", async () => {
  await assertRejects(() => openPassed(1_000_000), Error, "LISTEN_FDS=1 but no FD found");
});
