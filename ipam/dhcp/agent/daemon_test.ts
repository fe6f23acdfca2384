import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { DaemonFlags } from "./flags.ts";
import { AgentClient } from "../rpc/agent_client.ts";
import { callList } from "../rpc/denocni_service.ts";
import { callAllocate, callRelease } from "../rpc/dhcp_service.ts";
import { RemoteError } from "../rpc/net_rpc.ts";
import { Daemon } from "./daemon.ts";
import { parseFlags } from "./flags.ts";
import { isAnswered, listenOnSocket } from "./socket.ts";
import { cmdArgsOf, FakeAgentTools } from "./testing_agent.ts";
import { ackedResult, failedResult, settle } from "./testing_keeper.ts";

/** Calls a test with an empty folder. */
async function inFolder(task: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  await task(dir).finally(() => Deno.removeSync(dir, { recursive: true }));
}

/** Names of what is in a folder, in order. */
function namesIn(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
}

function flagsOf(words: string): DaemonFlags {
  const line = parseFlags(words.split(" ").filter(Boolean));
  assert(line.kind === "run");
  return line.flags;
}

/** A running agent below a folder, and its tools. */
async function start(dir: string, { words = "", idle = 30_000 } = {}) {
  const tools = new FakeAgentTools({ socket: `${dir}/dhcp.sock` });
  const daemon = await Daemon.start(flagsOf(words), { tools, idle });
  const call = () => Deno.connect({ transport: "unix", path: tools.socket });
  return { tools, daemon, call };
}

const never = new AbortController().signal;

Deno.test("the agent serves its socket, and leaves nothing but leases when it stops", () =>
  inFolder(async (dir) => {
    const { tools, daemon, call } = await start(dir, { words: `-pidfile ${dir}/dhcp.pid` });
    const { mode, isSocket } = Deno.lstatSync(tools.socket);
    assertEquals([isSocket, mode! & 0o777], [true, 0o660]);
    assertEquals(Deno.readTextFileSync(`${dir}/dhcp.pid`), String(Deno.pid));
    assertEquals(Deno.statSync(`${dir}/dhcp.pid`).mode! & 0o777, 0o644);
    const result = callAllocate(await call(), cmdArgsOf());
    while (tools.pending.length === 0) await settle();
    tools.only.end(ackedResult());
    assertEquals((await result).ips[0]!.address, "192.168.1.5/24");
    assertEquals((await callList(await call())).length, 1);
    await daemon.stop();
    assertEquals(namesIn(dir), ["dhcp.sock.lock"]);
    assertEquals([tools.disk.size, tools.clock.pending], [1, 0]);
  }));

Deno.test("whether the agent answers does not depend on how many leases it has", () =>
  inFolder(async (dir) => {
    const { tools, daemon } = await start(dir);
    daemon.agent.list = () => {
      throw new Error("there are too many");
    };
    await new AgentClient(tools.socket, 10_000).greet();
    await daemon.stop();
  }));

Deno.test("what the agent cannot do goes to the plugin as its words", () =>
  inFolder(async (dir) => {
    const { tools, daemon, call } = await start(dir);
    const result = callAllocate(await call(), cmdArgsOf());
    while (tools.pending.length === 0) await settle();
    tools.only.end({ ...failedResult, counts: { ...failedResult.counts, request: 0 } });
    await assertRejects(() => result, RemoteError, "no more tries: 3 REQUEST sent");
    await callRelease(await call(), cmdArgsOf());
    await daemon.stop();
  }));

Deno.test("a plugin that goes away ends its acquisition", () =>
  inFolder(async (dir) => {
    const { tools, daemon, call } = await start(dir);
    const caller = new AbortController();
    const result = callAllocate(await call(), cmdArgsOf(), { signal: caller.signal });
    while (tools.pending.length === 0) await settle();
    const { promise: over, resolve } = Promise.withResolvers<void>();
    tools.only.signal.addEventListener("abort", () => resolve());
    caller.abort();
    await assertRejects(() => result);
    await over;
    await daemon.stop();
    assertEquals(tools.disk.size, 0);
  }));

Deno.test("the agent goes on with what is on the disk before it answers", () =>
  inFolder(async (dir) => {
    const first = await start(dir);
    const result = first.daemon.agent.allocate(cmdArgsOf(), never);
    await settle();
    first.tools.only.end(ackedResult());
    await result;
    await first.daemon.stop();
    const daemon = await Daemon.start(flagsOf(""), { tools: first.tools });
    const [lease] = await callList(await first.call());
    assertEquals(lease!.address, "192.168.1.5");
    await daemon.stop();
  }));

Deno.test("the folder of the socket is made for root alone", () =>
  inFolder(async (dir) => {
    const { daemon } = await start(`${dir}/run/cni`);
    assertEquals(Deno.statSync(`${dir}/run/cni`).mode! & 0o777, 0o700);
    await daemon.stop();
  }));

Deno.test("the socket of a dead agent is replaced", () =>
  inFolder(async (dir) => {
    const dead = Deno.listen({ transport: "unix", path: `${dir}/dead.sock` });
    // What is closed is removed, under the name that it had.
    Deno.renameSync(`${dir}/dead.sock`, `${dir}/dhcp.sock`);
    dead.close();
    assert(Deno.lstatSync(`${dir}/dhcp.sock`).isSocket);
    assert(!await isAnswered(`${dir}/dhcp.sock`));
    const { daemon, call } = await start(dir);
    assertEquals(await callList(await call()), []);
    await daemon.stop();
  }));

Deno.test("a live agent is not replaced", () =>
  inFolder(async (dir) => {
    const path = `${dir}/dhcp.sock`;
    const other = Deno.listen({ transport: "unix", path });
    await assertRejects(
      () => start(dir, { words: `-pidfile ${dir}/dhcp.pid` }),
      Error,
      `Cannot listen on "${path}": another lease agent serves it`,
    );
    assert(await isAnswered(path));
    assertEquals(namesIn(dir), ["dhcp.sock", "dhcp.sock.lock"]);
    other.close();
    const { daemon } = await start(dir);
    await daemon.stop();
  }));

Deno.test("a file that is no socket is not replaced", () =>
  inFolder(async (dir) => {
    Deno.writeTextFileSync(`${dir}/dhcp.sock`, "mine");
    await assertRejects(() => start(dir), Error, "there is a file that is no socket");
    assertEquals(Deno.readTextFileSync(`${dir}/dhcp.sock`), "mine");
  }));

Deno.test("a pid file that cannot be written is named", () =>
  inFolder(async (dir) => {
    const words = `-pidfile ${dir}/none/dhcp.pid`;
    await assertRejects(
      () => start(dir, { words }),
      Error,
      `Error writing pidfile "${dir}/none/dhcp.pid": `,
    );
    assertEquals(namesIn(dir), ["dhcp.sock.lock"]);
  }));

Deno.test("an agent that cannot go on with its leases leaves nothing", () =>
  inFolder(async (dir) => {
    const tools = new FakeAgentTools({ socket: `${dir}/dhcp.sock` });
    tools.store.all = () => {
      throw new Error("Cannot list leases");
    };
    const starting = Daemon.start(flagsOf(`-pidfile ${dir}/dhcp.pid`), { tools });
    await assertRejects(() => starting, Error, "Cannot list leases");
    assertEquals(namesIn(dir), ["dhcp.sock.lock"]);
  }));

Deno.test("a look at the leases that fails is said, and done again", () =>
  inFolder(async (dir) => {
    const tools = new FakeAgentTools({ socket: `${dir}/dhcp.sock` });
    const { all } = tools.store;
    const { promise: again, resolve } = Promise.withResolvers<void>();
    const daemon = await Daemon.start(flagsOf(""), { tools, sweep: 1 });
    tools.store.all = () => {
      tools.store.all = () => {
        resolve();
        return all();
      };
      throw new Error("too many open files");
    };
    await again;
    assertEquals(tools.said.length, 1);
    assertMatch(tools.said[0]!, /^say Error: too many open files\n/);
    await daemon.stop();
  }));

/** An agent that closes idle connections soon, yet not before a call has come. */
async function startCalled(dir: string) {
  for (let idle = 20;; idle *= 2) {
    const started = await start(`${dir}/${idle}`, { idle });
    const result = callAllocate(await started.call(), cmdArgsOf());
    let closed = false;
    result.catch(() => closed = true);
    while (started.tools.pending.length === 0 && !closed) await settle();
    if (!closed) return { ...started, result };
    await started.daemon.stop();
  }
}

Deno.test("an idle connection is closed, one with a call is not", () =>
  inFolder(async (dir) => {
    const { tools, daemon, call, result } = await startCalled(dir);
    for (const bytes of ["", "CONNECT /_goRPC_ HTTP/1.0\n\n"]) {
      using idle = await call();
      const buffer = new Uint8Array(100);
      await idle.write(new TextEncoder().encode(bytes)).catch(orClosed);
      while (await idle.read(buffer).catch(orClosed) !== null);
    }
    tools.only.end(ackedResult());
    assertEquals((await result).ips.length, 1);
    await daemon.stop();
  }));

/** On a busy machine a connection may be closed before it is used. */
function orClosed(error: Error): null {
  const { BrokenPipe, ConnectionReset } = Deno.errors;
  if (error instanceof BrokenPipe || error instanceof ConnectionReset) return null;
  throw error;
}

Deno.test("a caller that speaks something else is turned away, and the agent goes on", () =>
  inFolder(async (dir) => {
    const { daemon, call } = await start(dir);
    using stranger = await call();
    await stranger.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    const buffer = new Uint8Array(1000);
    const length = await stranger.read(buffer);
    assert(new TextDecoder().decode(buffer.subarray(0, length!)).startsWith("HTTP/1.0 404"));
    assertEquals(await callList(await call()), []);
    await daemon.stop();
  }));

Deno.test("a closed door lets nobody in", () =>
  inFolder(async (dir) => {
    const door = await listenOnSocket(`${dir}/door.sock`);
    const next = door.accept();
    door.close();
    assertEquals(await next, undefined);
    assertEquals(namesIn(dir), []);
  }));
