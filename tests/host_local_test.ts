/**
 * host-local where it needs more than a folder: other processes, the reference's
 * plugin, real namespaces, full disks.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { codes, toCniError } from "../cni/error.ts";
import { add, call } from "../cni/testing.ts";
import type { JsonObject } from "../cni/types.ts";
import { listNames } from "../host/files.ts";
import { plugin } from "../ipam/host-local.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, binDir, callPlugin, okJson, peerDir } from "./harness/plugin.ts";
import { Child, execute, must } from "./harness/process.ts";
import { Random, seedOf } from "./harness/random.ts";
import type { Sandbox } from "./harness/sandbox.ts";

/** A configuration whose state lies in the test's own folder. */
function configuration(sandbox: Sandbox, subnet: string, more: JsonObject = {}): JsonObject {
  return {
    cniVersion: "1.0.0",
    name: "pool",
    type: "bridge",
    ipam: { type: "host-local", dataDir: sandbox.dataDir, ranges: [[{ subnet }]], ...more },
  };
}

/** What each reservation file holds, by address. */
function reservations(sandbox: Sandbox): Map<string, string> {
  const dir = `${sandbox.dataDir}/pool`;
  const names = listNames(dir).filter((name) => /^[\d.]+$/.test(name));
  return new Map(names.map((name) => [name, Deno.readTextFileSync(`${dir}/${name}`)]));
}

/** The worker's account: who holds which address, and whom it was busy with when it died. */
function account(
  lines: readonly string[],
): { held: Map<string, string>; busy: string | undefined } {
  const held = new Map<string, string>();
  let busy: string | undefined;
  for (const line of lines) {
    const [done, id, address] = line.split(" ") as [string, string, string?];
    busy = done.endsWith("ing") ? id : undefined;
    if (done === "reserved") held.set(id, address!);
    if (done === "releasing") held.delete(id);
  }
  return { held, busy };
}

/** Everything that a program still says, and its end. */
async function rest(child: Child): Promise<string[]> {
  const lines: string[] = [];
  for (let line = await child.line(); line !== undefined; line = await child.line()) {
    lines.push(line);
  }
  await child[Symbol.asyncDispose]();
  return lines;
}

kernelTest("host-local: killed at 40 random moments, no address is lost and none has two owners", {
  needs: [],
}, async (sandbox) => {
  const random = new Random(seedOf(498));
  const config = configuration(sandbox, "10.9.0.0/25");
  const worker = new URL("host_local_worker.ts", import.meta.url).pathname;
  const owners = new Map<string, string>();
  let seen = 0;
  for (let kill = 0; kill < 20; kill++) {
    const about = `seed ${random.seed}, kill ${kill}`;
    // Two at once, so that one is killed while the other waits for its lock or works on.
    const workers = ["a", "b"].map((letter) =>
      new Child([
        Deno.execPath(),
        ...["run", "-A", "--no-check", "--quiet", worker],
        JSON.stringify(config),
        `${letter}${kill}`,
        String(random.integer(0, 1e9)),
      ], {})
    );
    const first = await Promise.all(workers.map((worker) => worker.line()));
    await new Promise((resolve) => setTimeout(resolve, random.integer(5, 250)));
    for (const one of workers) one.kill("SIGKILL");
    for (const [n, one] of workers.entries()) {
      const { held, busy } = account([first[n]!, ...await rest(one)]);
      for (const [id, address] of held) {
        assertEquals(owners.get(address), undefined, about);
        owners.set(address, id);
        seen++;
      }
      // What was under way may have happened or not: DEL settles it, as a runtime would.
      if (busy) await call(plugin, "DEL", { config, containerId: busy });
    }
    const expected = [...owners].map(([address, id]) => [address, `${id}\r\neth0`] as const);
    assertEquals(reservations(sandbox), new Map(expected.sort()), about);
    // Some leave, so that the range never fills up.
    for (const [address, containerId] of [...owners].slice(0, -10)) {
      await call(plugin, "DEL", { config, containerId });
      owners.delete(address);
    }
  }
  assert(seen > 40, `${seen}`);
  const left = 125 - owners.size;
  for (let n = 0; n < left; n++) await add(plugin, { config, containerId: `late${n}` });
  const full = toCniError(await assertRejects(() => add(plugin, { config, containerId: "over" })));
  assertEquals(full.code, codes.noAddress);
  assertEquals(reservations(sandbox).size, 125);
});

for (
  const [title, options] of [
    ["without room for a file", "size=64k"],
    ["without an inode", "nr_inodes=40"],
  ] as const
) {
  kernelTest(`host-local: a disk ${title} loses no address`, { needs: [] }, async (sandbox) => {
    const config = configuration(sandbox, "10.9.0.0/24");
    Deno.mkdirSync(sandbox.dataDir);
    await must(["mount", "-t", "tmpfs", "-o", options, "disk", sandbox.dataDir]);
    try {
      const held: string[] = [];
      for (let full = false; !full;) {
        const containerId = `c${held.length}`;
        await add(plugin, { config, containerId }).then(
          () => held.push(containerId),
          (error) => {
            assertEquals(toCniError(error).code, codes.capacity, String(error));
            full = true;
          },
        );
      }
      assert(held.length > 3, `${held.length}`);
      // A failed ADD without a rollback, as after a kill: the runtime calls DEL.
      await call(plugin, "DEL", { config, containerId: `c${held.length}` });
      const files = reservations(sandbox);
      assertEquals([...files.values()].sort(), held.map((id) => `${id}\r\neth0`).sort());
      fillUp(sandbox.dataDir);
      const status = toCniError(
        await assertRejects(() =>
          call(plugin, "STATUS", { config: { ...config, cniVersion: "1.1.0" } })
        ),
      );
      assertEquals(status.code, codes.notAvailable);
      for (const containerId of held) await call(plugin, "DEL", { config, containerId });
      assertEquals(reservations(sandbox).size, 0);
      await add(plugin, { config, containerId: "again" });
      assertEquals(reservations(sandbox).size, 1);
      assertEquals(listNames(`${sandbox.dataDir}/pool`).filter((name) => name.startsWith(".")), []);
    } finally {
      await must(["umount", sandbox.dataDir]);
    }
  });
}

/** Makes files until no other one can be made. */
function fillUp(dir: string): void {
  for (let n = 0;; n++) {
    try {
      Deno.writeTextFileSync(`${dir}/junk${n}`, "x");
    } catch (error) {
      assertMatch(String(error), /No space left on device/);
      return;
    }
  }
}

kernelTest("host-local: 60 processes at once get 60 addresses", {
  needs: ["plugin:host-local"],
}, async (sandbox) => {
  await sixty(sandbox, [binDir()]);
});

kernelTest("host-local: 60 processes at once, half of them the reference's, get 60 addresses", {
  needs: ["peer", "plugin:host-local"],
}, async (sandbox) => {
  await sixty(sandbox, [binDir(), peerDir]);
});

async function sixty(sandbox: Sandbox, dirs: readonly string[]): Promise<void> {
  const config = configuration(sandbox, "10.9.0.0/26", { lockTimeout: 60_000 });
  const calls = Array.from({ length: 60 }, (_, n) => ({
    type: "host-local",
    config,
    containerId: `c${n}`,
    netns: "/run/netns/none",
    binDir: dirs[n % dirs.length]!,
    deadline: 120_000,
  }));
  const given = await Promise.all(calls.map(async (call) => {
    const add = { ...call, verb: "ADD" };
    return addressesOf(okJson(add, await callPlugin(sandbox, add)))[0]!;
  }));
  assertEquals(new Set(given).size, 60);
  const files = reservations(sandbox);
  for (const [n, address] of given.entries()) {
    assertEquals(files.get(address.split("/")[0]!), `c${n}\r\neth0`);
  }
  await Promise.all(calls.map(async (call, n) => {
    const del = { ...call, verb: "DEL", binDir: dirs[(n + 1) % dirs.length]! };
    okJson(del, await callPlugin(sandbox, del));
  }));
  assertEquals(reservations(sandbox).size, 0);
}

kernelTest("host-local: both sides take turns on one pool, 600 random calls", {
  needs: ["peer"],
}, async (sandbox) => {
  const random = new Random(seedOf(1055));
  const config = configuration(sandbox, "10.9.0.0/27");
  const theirs = (verb: "ADD" | "DEL" | "CHECK", containerId: string) =>
    callPlugin(sandbox, {
      type: "host-local",
      verb,
      config,
      containerId,
      netns: "/run/netns/none",
      binDir: peerDir,
    });
  const held = new Map<string, string>();
  for (let turn = 0; turn < 600; turn++) {
    const about = `seed ${random.seed}, turn ${turn}`;
    const ours = random.oneIn(2);
    const id = `c${random.integer(0, 39)}`;
    const address = held.get(id);
    if (random.oneIn(2)) {
      if (ours) await call(plugin, "DEL", { config, containerId: id });
      else assertEquals((await theirs("DEL", id)).code, 0, about);
      held.delete(id);
    } else if (address) {
      if (ours) {
        assertEquals((await add(plugin, { config, containerId: id })).ips[0]!.address, address);
      } else assert((await theirs("ADD", id)).code !== 0, about);
      await call(plugin, "CHECK", { config, containerId: id });
      assertEquals((await theirs("CHECK", id)).code, 0, about);
    } else {
      const given = ours
        ? await add(plugin, { config, containerId: id }).then(
          ({ ips }) => ips[0]!.address,
          (error) => assertEquals(toCniError(error).code, codes.noAddress),
        )
        : addressesOf((await theirs("ADD", id)).json ?? {})[0];
      assertEquals(given === undefined, held.size === 29, about);
      if (given) held.set(id, given);
    }
    const expected = [...held].map(([id, address]) => [address.split("/")[0]!, `${id}\r\neth0`]);
    assertEquals(Object.fromEntries(reservations(sandbox)), Object.fromEntries(expected), about);
  }
  assertEquals(new Set(held.values()).size, held.size);
});

kernelTest(
  "host-local: addresses of removed namespaces are taken back, not those of processes in them",
  {
    needs: [],
  },
  async (sandbox) => {
    const config = configuration(sandbox, "10.9.0.0/29");
    const given: string[] = [];
    for (const name of ["a", "b", "c", "d", "e"]) {
      const netns = await sandbox.container(name);
      given.push((await add(plugin, { config, containerId: name, netns })).ips[0]!.address);
    }
    // The path of b goes, and a process stays inside.
    const inside = [
      "nsenter",
      `--net=${await sandbox.container("b")}`,
      "sh",
      "-c",
      "echo in; exec cat",
    ];
    await using process = new Child(inside, {});
    assertEquals(await process.line(), "in");
    await sandbox.removeNetns("b");
    await sandbox.removeNetns("d");
    assertEquals((await add(plugin, { config, containerId: "new" })).ips[0]!.address, given[3]);
    const refused = toCniError(
      await assertRejects(() => add(plugin, { config, containerId: "newer" })),
    );
    assertEquals(refused.code, codes.noAddress);
    await process[Symbol.asyncDispose]();
    assertEquals((await add(plugin, { config, containerId: "newer" })).ips[0]!.address, given[1]);
  },
);

kernelTest(
  "host-local: the one who holds the lock too long is named",
  { needs: [] },
  async (sandbox) => {
    const config = configuration(sandbox, "10.9.0.0/29", { lockTimeout: 100 });
    await add(plugin, { config, containerId: "a" });
    const lock = `${sandbox.dataDir}/pool/lock`;
    await using holder = new Child(["flock", "-x", "-o", lock, "sh", "-c", "echo locked; cat"], {});
    assertEquals(await holder.line(), "locked");
    const error = toCniError(await assertRejects(() => add(plugin, { config, containerId: "b" })));
    assertEquals(error.code, codes.tryAgainLater);
    assertMatch(
      error.msg,
      new RegExp(
        `held by process ${holder.pid} \\(\\S*flock -x -o ${lock} .*, started \\d+ m?s ago\\)$`,
      ),
    );
    // The lock is the kernel's: it goes with its holder.
    await holder[Symbol.asyncDispose]();
    await execute(["flock", "-x", lock, "true"]);
    await add(plugin, { config, containerId: "b" });
  },
);
