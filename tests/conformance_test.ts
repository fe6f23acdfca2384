/**
 * The protocol, plugin by plugin and version by version: what any runtime may
 * expect of any CNI plugin (specification sections 2, 4 and 5).
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject, Verb } from "../cni/types.ts";
import { Attachment } from "./harness/attachment.ts";
import { noticeDamage } from "./harness/damage.ts";
import { isListing, rounds } from "./harness/guest.ts";
import { refusalTest, rowTest, suiteTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, callPlugin, fail, okJson, succeed, versions } from "./harness/plugin.ts";
import type { Row } from "./harness/rows.ts";
import { inert } from "./harness/residue.ts";
import { alike, chosenRows, distinctRows, firstRows, richRows } from "./harness/rows.ts";
import { assertShape } from "./harness/shape.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** The versions in which a row's ADD can succeed. */
function versionsOf(row: Row): readonly string[] {
  const since = row.since ?? (row.addressless ? "0.3.0" : "0.1.0");
  return versions.filter((version) => version >= since);
}

/** Some of a list, the first and the last among them. */
function spread<T>(list: readonly T[], count: number): T[] {
  if (list.length <= count) return [...list];
  const step = (list.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, index) => list[Math.round(index * step)]!);
}

/** Variables that a verb cannot do without. */
const requiredVariables: Readonly<Record<Exclude<Verb, "VERSION">, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  GC: ["CNI_PATH"],
  STATUS: [],
};

/** Every way to leave out two variables or more. */
function subsets(names: readonly string[]): string[][] {
  const all = names.reduce<string[][]>(
    (sets, name) => [...sets, ...sets.map((set) => [...set, name])],
    [[]],
  );
  return all.filter((set) => set.length > 0);
}

for (const row of firstRows()) {
  rowTest(row, "VERSION needs only CNI_COMMAND", async (sandbox) => {
    for (const config of [undefined, "", "{", "[1]", '{"cniVersion":"0.4.0"}']) {
      const call: PluginCall = {
        type: row.type,
        verb: "VERSION",
        ...(config !== undefined && { config }),
        env: {
          PATH: undefined,
          CNI_CONTAINERID: undefined,
          CNI_NETNS: undefined,
          CNI_IFNAME: undefined,
          CNI_ARGS: undefined,
          CNI_PATH: undefined,
        },
      };
      const { cniVersion, supportedVersions, ...rest } = await succeed(sandbox, call);
      assertEquals(rest, {});
      assertMatch(String(cniVersion), /^\d+\.\d+\.\d+$/);
      assertEquals(supportedVersions as string[], [...versions]);
    }
  });

  rowTest(row, "no command gives a text about the plugin", async (sandbox) => {
    for (const value of [undefined, ""]) {
      const env = { CNI_COMMAND: value };
      const { code, stdout, stderr } = await callPlugin(sandbox, {
        type: row.type,
        verb: "",
        env,
      });
      assertEquals([code, stdout], [0, ""]);
      assertStringIncludes(stderr, row.type);
      for (const version of versions) assertStringIncludes(stderr, version);
    }
  });

  refusalTest(row, "missing variables are named all at once", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    for (const [verb, names] of Object.entries(requiredVariables)) {
      for (const missing of subsets(names)) {
        await test.step(`${verb} without ${missing.join(", ")}`, async () => {
          for (const value of [undefined, ""]) {
            const env = Object.fromEntries(missing.map((name) => [name, value]));
            const call = attachment.call(verb as "ADD", { env });
            const { code, msg } = await fail(sandbox, call);
            assertEquals(code, 4);
            assertEquals(names.filter((name) => msg.includes(name)), missing);
          }
        });
      }
    }
    assertSame(before, await snapshot(sandbox));
  });

  refusalTest(row, "bad identifiers are refused", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const bad: Record<string, readonly string[]> = {
      CNI_CONTAINERID: ["../c1", "-c1", "c 1", "c1\n", "c/1", "ü", ".", "c1;ls"],
      CNI_IFNAME: [
        "sixteen-letters1",
        "éééééééé",
        ".",
        "..",
        "a/b",
        "a:b",
        "a b",
        "a\tb",
        "a\u0085b",
        "a\u3000b",
      ],
    };
    for (const [variable, values] of Object.entries(bad)) {
      for (const value of values) {
        await test.step(`${variable} ${JSON.stringify(value)}`, async () => {
          for (const verb of ["ADD", "CHECK", "DEL"] as const) {
            const call = attachment.call(verb, { env: { [variable]: value } });
            assertEquals((await fail(sandbox, call)).code, 4);
          }
        });
      }
    }
    assertSame(before, await snapshot(sandbox));
  });

  refusalTest(row, "bad configurations are refused", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const good = attachment.call("ADD").config as JsonObject;
    const text = JSON.stringify(good);
    const { name: _, ...nameless } = good;
    const bad: readonly [title: string, code: number, config: JsonObject | string][] = [
      ["empty", 6, ""],
      ["truncated", 6, text.slice(0, -1)],
      ["a list", 6, `[${text}]`],
      ["a number", 6, "1"],
      ["trailing bytes", 6, `${text}x`],
      ["two values", 6, `${text}${text}`],
      ["a byte order mark", 6, `\uFEFF${text}`],
      ["null", 7, "null"],
      ["no name", 7, nameless],
      ["an empty name", 7, { ...good, name: "" }],
      ["a name with a slash", 7, { ...good, name: "../net" }],
      ["a name with a newline", 7, { ...good, name: "net\n" }],
      ["a name that is a number", 6, { ...good, name: 1 }],
      ["a version that is a number", 6, { ...good, cniVersion: 1 }],
    ];
    for (const [title, code, config] of bad) {
      await test.step(title, async () => {
        for (const verb of ["ADD", "DEL"] as const) {
          const error = await fail(sandbox, attachment.call(verb, { config }));
          assertEquals(error.code, code);
        }
      });
    }
    assertSame(before, await snapshot(sandbox));
  });

  refusalTest(row, "version gates", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const good = attachment.call("ADD").config as JsonObject;
    const refused = async (verb: Verb, cniVersion: string, msg: string) => {
      const call = { ...attachment.call("ADD"), verb, config: { ...good, cniVersion } };
      const error = await fail(sandbox, call);
      assertEquals([error.code, error.msg], [1, msg]);
    };
    for (const verb of ["ADD", "DEL"] as const) {
      for (const version of ["9.9.9", "1.1", "1.1.0 ", "abc", "2.0.0"]) {
        await test.step(`${verb} ${version}`, () =>
          refused(verb, version, "incompatible CNI versions"));
      }
    }
    for (const version of ["0.1.0", "0.2.0", "0.3.0", "0.3.1", ""]) {
      await test.step(`CHECK ${version}`, () =>
        refused("CHECK", version, "config version does not allow CHECK"));
    }
    for (const verb of ["GC", "STATUS"] as const) {
      for (const version of ["0.4.0", "1.0.0"]) {
        await test.step(`${verb} ${version}`, () =>
          refused(verb, version, `config version does not allow ${verb}`));
      }
    }
    await test.step("unparsable", async () => {
      for (const verb of ["CHECK", "GC", "STATUS"] as const) {
        const config = { ...good, cniVersion: "one" };
        const { code } = await fail(sandbox, { ...attachment.call("ADD"), verb, config });
        assertEquals(code, 6);
      }
    });
    assertSame(before, await snapshot(sandbox));
  });

  refusalTest(row, "an unknown command is refused", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    for (const verb of ["add", "UPDATE", "ADD ", "constructor"]) {
      const { code, msg } = await fail(sandbox, { ...attachment.call("ADD"), verb });
      assertEquals([code, msg], [4, `unknown CNI_COMMAND: ${verb}`]);
    }
  });

  refusalTest(row, "its own namespace is refused before anything is done", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    for (const verb of ["ADD", "DEL"] as const) {
      for (const netns of [sandbox.host, "/proc/self/ns/net"]) {
        const { code } = await fail(sandbox, attachment.call(verb, { netns }));
        assertEquals(code, 8);
      }
    }
    assertSame(before, await snapshot(sandbox));
    for (const value of ["1", "true", "TRUE"]) {
      const env = { CNI_NETNS_OVERRIDE: value };
      const call = attachment.call("DEL", { netns: sandbox.host, env });
      await succeed(sandbox, call);
    }
  });
}

const first = new Set(firstRows());
const rich = new Set(alike(richRows()));

const each = isListing() ? distinctRows() : chosenRows();

for (const row of each) {
  const count = rounds(first.has(row) ? versions.length : 3, 2);
  const register = first.has(row) ? rowTest : suiteTest;
  register(row, `ADD, CHECK and DEL in ${count} versions`, async (sandbox, test) => {
    const before = await snapshot(sandbox);
    for (const version of spread(versionsOf(row), count)) {
      await test.step(version, async () => {
        const attachment = await Attachment.create(sandbox, row, { version });
        assertShape(await attachment.add(), version);
        if (version >= "0.4.0") await attachment.check();
        const del = await callPlugin(sandbox, attachment.call("DEL"));
        okJson(attachment.call("DEL"), del);
        assertEquals(del.stdout, "");
        await attachment.delBefore();
        assertSame(before, await snapshot(sandbox), { allow: row.residue });
      });
    }
  });

  if (row.addressless) {
    suiteTest(row, "versions that cannot express its result are refused", async (sandbox) => {
      for (const version of versions.filter((version) => version < "0.3.0")) {
        const attachment = await Attachment.create(sandbox, row, { version });
        const before = await snapshot(sandbox);
        const { msg } = await fail(sandbox, attachment.call("ADD"));
        assertEquals(msg, "cannot convert: no valid IP addresses");
        assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
        await attachment.del();
      }
    });
  } else if (!row.since) {
    suiteTest(row, "a configuration without version is of version 0.1.0", async (sandbox) => {
      const attachment = await Attachment.create(sandbox, row, { version: "0.1.0" });
      const call = attachment.call("ADD");
      const { cniVersion: _, ...config } = call.config as JsonObject;
      assertShape(await succeed(sandbox, { ...call, config }), "0.1.0");
    });
  }

  suiteTest(row, "CHECK notices damage", (sandbox, test) => noticeDamage(test, sandbox, row));

  suiteTest(row, "unknown keys are ignored", async (sandbox) => {
    const extra = {
      "x-unknown": { a: [1, null] },
      runtimeConfig: { unknown: [1] },
      args: { b: 2 },
    };
    const attachment = await Attachment.create(sandbox, row, { extra });
    await attachment.add();
    await attachment.check();
    await attachment.del();
  });

  suiteTest(row, "STATUS says that it is ready", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const output = await callPlugin(sandbox, attachment.call("STATUS"));
    okJson(attachment.call("STATUS"), output);
    assertEquals(output.stdout, "");
    assertSame(before, await snapshot(sandbox), { allow: row.residue });
  });

  if (!rich.has(row)) continue;
  suiteTest(row, "many ADD and DEL at once", async (sandbox) => {
    const count = rounds(8, 3);
    const before = await snapshot(sandbox);
    const attachments: Attachment[] = [];
    for (let i = 0; i < count; i++) {
      const options = { containerId: `c${i}`, container: `n${i}`, extra: row.beside?.(i) ?? {} };
      attachments.push(await Attachment.create(sandbox, row, options));
    }
    await Promise.all(attachments.map((attachment) => attachment.add()));
    const addresses = attachments.flatMap(({ result }) => addressesOf(result!));
    if (row.kind !== "chained" && row.type !== "loopback" && row.type !== "static") {
      assertEquals(new Set(addresses).size, addresses.length);
    }
    await Promise.all(attachments.map((attachment) => attachment.check()));
    await Promise.all(attachments.map((attachment) => attachment.del()));
    for (const attachment of attachments) await attachment.delBefore();
    assertSame(before, await snapshot(sandbox), { allow: row.residue, only: /^(host|files)/ });
  });
}

for (const row of each.filter(({ kind }) => kind === "interface")) {
  suiteTest(row, "a failed ADD says why and leaves nothing", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const missing = `${sandbox.dir}/no-such-namespace`;
    await test.step("no namespace", async () => {
      const before = await snapshot(sandbox);
      const { msg } = await fail(sandbox, attachment.call("ADD", { netns: missing }));
      assertStringIncludes(msg, missing);
      assertSame(before, await snapshot(sandbox));
    });
    // The interface of loopback is always there.
    if (row.type === "loopback") return;
    await test.step("interface taken", async () => {
      const { netns, ifname } = attachment;
      await sandbox.ip(netns, [`link add name ${ifname} type veth peer name p0`]);
      const before = await snapshot(sandbox);
      const { msg } = await fail(sandbox, attachment.call("ADD"));
      assertStringIncludes(msg, ifname);
      assertSame(before, await snapshot(sandbox), {
        allow: inert(row.residue),
      });
    });
  });
}

for (const row of each.filter((row) => row.kind === "chained" && !row.changesResult)) {
  suiteTest(row, "the previous result is passed on", async (sandbox, test) => {
    const known = versions.filter((version) => version >= "0.3.0");
    for (const version of spread(known, first.has(row) ? known.length : 2)) {
      await test.step(version, async () => {
        const attachment = await Attachment.create(sandbox, row, { version });
        const call = attachment.call("ADD");
        const { prevResult } = call.config as JsonObject;
        const result = await attachment.add();
        for (const key of ["interfaces", "ips", "routes", "dns"]) {
          assertEquals(result[key] ?? null, (prevResult as JsonObject)[key] ?? null);
        }
        await attachment.del();
        await attachment.delBefore();
      });
    }
  });

  suiteTest(row, "an ADD without previous result is refused", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    const call = attachment.call("ADD");
    const { prevResult: _, ...config } = call.config as JsonObject;
    const before = await snapshot(sandbox);
    await fail(sandbox, { ...call, config });
    assertSame(before, await snapshot(sandbox));
  });
}
