import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import { command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Removal } from "./removal.ts";
import { removeAll } from "./removal.ts";

/** Tasks that note their names; those with an error throw it. */
function tasks(
  log: string[],
  plan: Record<string, Partial<Removal> & { error?: unknown }>,
): Removal[] {
  return Object.entries(plan).map(([why, { error, ...rest }]) => ({
    why,
    run() {
      log.push(why);
      return error === undefined ? Promise.resolve() : Promise.reject(error);
    },
    ...rest,
  }));
}

async function failure(plan: Parameters<typeof tasks>[1]): Promise<[unknown, string[]]> {
  const log: string[] = [];
  const error = await assertRejects(() => removeAll(tasks(log, plan)), CniError);
  return [error.toJson(), log];
}

const denied = ActionError.fromOutput(
  { why: 'remove veth "a"', do: command("ip", ["link", "del", "dev", "a"]) },
  {
    code: 2,
    signal: null,
    stdout: "",
    stderr: "RTNETLINK answers: Operation not permitted\n",
  },
);

Deno.test("removeAll() runs the tasks in order, but for those that are left out", async () => {
  const log: string[] = [];
  await removeAll(tasks(log, { a: {}, b: { when: false }, c: { when: true, onlyIfClean: true } }));
  assertEquals(log, ["a", "c"]);
  await removeAll([]);
});

Deno.test("removeAll() goes on after a failure, and throws the first one", async () => {
  const [error, log] = await failure({
    a: {},
    b: { error: denied },
    c: {},
    d: { error: new CniError(codes.delegateFailed, "netplugin failed", "plugin: /x") },
    e: {},
  });
  assertEquals(log, ["a", "b", "c", "d", "e"]);
  assertEquals(error, {
    code: codes.permissionDenied,
    msg: 'Cannot remove veth "a": RTNETLINK answers: Operation not permitted',
    details: "command: ip link del dev a; exit status 2; " +
      "stderr: RTNETLINK answers: Operation not permitted; " +
      "Cannot d: netplugin failed; plugin: /x",
  });
});

Deno.test("removeAll() gives no address away while something before is left", async () => {
  const [, log] = await failure({
    a: { error: new Error("no") },
    release: { onlyIfClean: true },
    b: {},
  });
  assertEquals(log, ["a", "b"]);
});

Deno.test("removeAll() tells what was being done where the message does not", async () => {
  const [error] = await failure({
    "release addresses": { error: new CniError(11, "not now") },
  });
  assertEquals(error, { code: 11, msg: "Cannot release addresses: not now" });
});

Deno.test("removeAll() gives an unforeseen failure the code of an unfinished removal", async () => {
  const [error] = await failure({ "remove the file": { error: new TypeError("potato") } });
  const { code, msg } = error as { code: number; msg: string };
  assertEquals([code, msg], [codes.cleanupFailed, "Cannot remove the file: potato"]);
});
