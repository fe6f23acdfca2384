import { assertEquals } from "@std/assert";
import { agentLockPath, isAgentRunning, isLockable, unlessAgentRuns } from "./agent_lock.ts";

Deno.test("a socket is served as long as somebody has the lock beside it", () => {
  const dir = Deno.makeTempDirSync();
  const socket = `${dir}/dhcp.sock`;
  assertEquals(isAgentRunning(socket), false);
  const lock = Deno.openSync(agentLockPath(socket), { write: true, create: true });
  assertEquals(isAgentRunning(socket), false);
  lock.lockSync(true);
  assertEquals(isAgentRunning(socket), true);
  assertEquals(unlessAgentRuns(socket, () => lock.close()), false);
  lock.close();
  assertEquals(unlessAgentRuns(socket, () => assertEquals(isAgentRunning(socket), true)), true);
  assertEquals(isAgentRunning(socket), false);
  Deno.removeSync(dir, { recursive: true });
});

Deno.test("a runtime that cannot try a lock sees who has it", () => {
  const path = Deno.makeTempFileSync();
  using lock = Deno.openSync(path, { write: true });
  assertEquals(isLockable({}, path), true);
  lock.lockSync(true);
  assertEquals(isLockable({}, path), false);
  Deno.removeSync(path);
});

Deno.test("a socket of which nothing can be learnt counts as served", () => {
  const file = Deno.makeTempFileSync();
  assertEquals(isAgentRunning(`${file}/dhcp.sock`), true);
  Deno.removeSync(file);
});
