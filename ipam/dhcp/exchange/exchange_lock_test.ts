import { assert, assertEquals, assertMatch } from "@std/assert";
import { Machine } from "../../../ns/machine.ts";
import { lockExchange } from "./exchange_lock.ts";

const host = new Machine();
const netns = { dev: 4, ino: 4026531840 };
const hour = 3_600_000;

async function withDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  await body(`${dir}/locks`);
  assertEquals([...Deno.readDirSync(`${dir}/locks`)], []);
  await Deno.remove(dir, { recursive: true });
}

function isTurn(turn: Disposable | string | undefined): Disposable {
  assert(typeof turn === "object", String(turn));
  return turn;
}

Deno.test("turns in one namespace follow each other, and leave nothing", () =>
  withDir(async (dir) => {
    const options = { host, within: hour, dir };
    let running = 0;
    const most = await Promise.all(Array.from({ length: 8 }, async () => {
      using _turn = isTurn(await lockExchange(netns, options));
      const now = ++running;
      await Deno.stat(dir);
      running--;
      return now;
    }));
    assertEquals(Math.max(...most), 1);
  }));

Deno.test("turns in two namespaces do not wait for each other", () =>
  withDir(async (dir) => {
    const options = { host, within: hour, dir };
    using _one = isTurn(await lockExchange(netns, options));
    using _other = isTurn(await lockExchange({ ...netns, ino: 7 }, options));
  }));

Deno.test("a wait that is over tells who has the turn", () =>
  withDir(async (dir) => {
    using _turn = isTurn(await lockExchange(netns, { host, within: hour, dir }));
    const text = await lockExchange(netns, { host, within: 0, dir });
    const expected = new RegExp(
      `^process ${Deno.pid} \\(.*\\) holds an exchange in the container$`,
    );
    assertMatch(String(text), expected);
  }));

Deno.test("a wait that is called off takes no turn, not even later", () =>
  withDir(async (dir) => {
    const never = { host, within: hour, dir, signal: AbortSignal.abort() };
    assertEquals(await lockExchange(netns, never), undefined);
    const calling = new AbortController();
    const turn = isTurn(await lockExchange(netns, { host, within: hour, dir }));
    const waiting = lockExchange(netns, { host, within: hour, dir, signal: calling.signal });
    calling.abort();
    assertEquals(await waiting, undefined);
    turn[Symbol.dispose]();
    isTurn(await lockExchange(netns, { host, within: hour, dir }))[Symbol.dispose]();
  }));
