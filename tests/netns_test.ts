/**
 * Namespaces on a real kernel: made, found, told apart, entered, removed
 * (`ns/`).
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { command } from "../host/command.ts";
import { sysctl } from "../host/step.ts";
import { run } from "../ns/machine.ts";
import { Machine } from "../ns/machine.ts";
import { createNetns, currentNetns, inspectNetns, removeNetns, sameNetns } from "../ns/netns.ts";
import { readOnly } from "./harness/fault.ts";
import { kernelTest } from "./harness/need.ts";
import { must } from "./harness/process.ts";

/** Inode of the namespace that a command finds itself in. */
async function inodeInside(path?: string): Promise<number> {
  const cmd = command("sh", ["-c", "stat -L -c %i /proc/self/ns/net"], {
    netns: path === undefined ? undefined : { path },
  });
  return Number((await run(cmd)).stdout);
}

function inode(path: string): number {
  const state = inspectNetns(path);
  assert(state.is === "namespace", `${path} is ${state.is}`);
  return state.identity.ino;
}

kernelTest("a named namespace is made, found and removed", {}, async () => {
  const name = `made-${Deno.pid}`;
  const { path } = await createNetns(name);
  try {
    assertEquals(path, `/run/netns/${name}`);
    const state = inspectNetns(path);
    assert(state.is === "namespace");
    assert(!sameNetns(state.identity, currentNetns()));
    await assertRejects(() => createNetns(name), Error, "File exists");
  } finally {
    await removeNetns(name);
  }
  assertEquals(inspectNetns(path), { is: "missing", path });
  await assertRejects(() => removeNetns(name), Error, name);
});

kernelTest("a command runs in its namespace and nowhere else", {}, async (sandbox) => {
  const [a, b] = [await sandbox.container("a"), await sandbox.container("b")];
  assertEquals(new Set([inode(a), inode(b), currentNetns().ino]).size, 3);
  const own = await inodeInside();
  assertEquals(own, currentNetns().ino);
  const places = Array.from({ length: 40 }, (_, i) => [a, b, undefined][i % 3]);
  const found = await Promise.all(places.map(inodeInside));
  assertEquals(found, places.map((path) => path ? inode(path) : own));
  assertEquals(await inodeInside(), own);
});

kernelTest("a failing command leaves its error unchanged", {}, async (sandbox) => {
  const netns = { path: await sandbox.container() };
  const output = await run(
    command("sh", ["-c", "echo no such luck >&2; exit 7"], { netns }),
  );
  assertEquals([output.code, output.stderr], [7, "no such luck\n"]);
});

kernelTest("a namespace with a blank in its path can be entered", {}, async (sandbox) => {
  const odd = `${sandbox.dir}/a name; with 'quotes'`;
  Deno.writeTextFileSync(odd, "");
  const container = await sandbox.container();
  await must(["mount", "--bind", container, odd]);
  try {
    assertEquals(await inodeInside(odd), inode(container));
  } finally {
    await must(["umount", odd]);
  }
});

kernelTest("the file of a removed namespace is not a namespace any more", {}, (sandbox) => {
  const path = `${sandbox.dir}/left`;
  Deno.writeTextFileSync(path, "");
  assertEquals(inspectNetns(path).is, "foreign");
});

kernelTest("entering a namespace that is gone fails as missing", {}, async (sandbox) => {
  const path = await sandbox.container("gone");
  await sandbox.removeNetns("gone");
  const machine = new Machine();
  const cmd = command("ip", ["link", "show"], { netns: { path } });
  assertEquals(await machine.query(cmd, { tolerate: ["missing"] }), undefined);
  await assertRejects(() => machine.query(cmd), Error, path);
});

kernelTest(
  "a kernel variable is written inside its namespace only, and not when it is right",
  {},
  async (sandbox) => {
    const netns = { path: await sandbox.container() };
    const key = "net/ipv4/ip_forward";
    const read = async (path: string) =>
      (await sandbox.inside(path, ["cat", `/proc/sys/${key}`])).trim();
    const before = await read("/proc/self/ns/net");
    const other = await read(netns.path) === "1" ? "0" : "1";
    await new Machine().apply([
      { why: "set forwarding", do: sysctl(key, other, { netns }) },
      // Nobody may write this one: it passes only because it is right already.
      { why: "name the kernel", do: sysctl("kernel/ostype", "Linux", { netns }) },
    ]);
    assertEquals(await read(netns.path), other);
    assertEquals(await read("/proc/self/ns/net"), before);
    await assertRejects(
      () =>
        new Machine().apply([
          { why: "set forwarding", do: sysctl(key, other, { netns }) },
          { why: "rename the kernel", do: sysctl("kernel/ostype", "x", { netns }) },
        ]),
      Error,
      "Cannot rename the kernel",
    );
  },
);

kernelTest("numbers of several digits are written, optional ones too", {}, async (sandbox) => {
  const netns = { path: await sandbox.container() };
  const keys = ["net/ipv4/conf/lo/arp_notify", "net/ipv4/neigh/lo/gc_stale_time"];
  for (const optional of [false, true]) {
    const values = optional ? ["0", "1234"] : ["1", "567"];
    await new Machine().apply(keys.map((key, index) => ({
      why: `set ${key}`,
      do: sysctl(key, values[index]!, { netns, optional }),
    })));
    const files = keys.map((key) => `/proc/sys/${key}`);
    const read = await sandbox.inside(netns.path, ["cat", ...files]);
    assertEquals(read.trim().split("\n"), values);
  }
});

kernelTest(
  "a variable that cannot be written is no failure when it is right",
  {},
  async (sandbox) => {
    const netns = { path: await sandbox.container() };
    const key = "net/ipv4/neigh/lo/gc_stale_time";
    const set = (value: number, optional = false) =>
      new Machine().apply([{ why: "set it", do: sysctl(key, value, { netns, optional }) }]);
    await set(123);
    await using _ = await readOnly("/proc/sys");
    await set(123);
    await set(124, true);
    await assertRejects(() => set(12), Error, "Cannot set it");
    await assertRejects(() => set(1234), Error, "Read-only file system");
  },
);

kernelTest("a batch inside a namespace is undone up to the line that failed", {
  needs: ["link:veth"],
}, async (sandbox) => {
  const path = await sandbox.container();
  const netns = { path };
  const add = (name: string) => ({
    why: `create "${name}"`,
    do: command(
      "ip",
      ["link", "add", "name", name, "type", "veth", "peer", "name", `${name}p`],
      { netns },
    ),
    undo: command("ip", ["link", "del", "dev", name], { netns }),
  });
  await sandbox.ip(path, ["link add name x3 type veth peer name y3"]);
  const machine = new Machine();
  await assertRejects(
    () => machine.apply([add("x1"), add("x2"), add("x3"), add("x4")]),
    Error,
    'Cannot create "x3"',
  );
  assert(await sandbox.hasLink(path, "x2"));
  assert(!await sandbox.hasLink(path, "x4"));
  assertEquals(await machine.rollback(), []);
  for (const name of ["x1", "x2"]) assert(!await sandbox.hasLink(path, name));
  assert(await sandbox.hasLink(path, "x3"));
});
