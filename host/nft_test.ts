import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import {
  comment,
  emptyListing,
  listTable,
  listTables,
  nftEcho,
  nftTransaction,
  parseListing,
  parseNftEcho,
} from "./nft.ts";

const table = { family: "inet", name: "t" } as const;

Deno.test("transactions and lists are one program each", () => {
  assertEquals(
    shellLine(nftTransaction(["add table ip t", "flush table ip t"])),
    "nft -f - <<'EOF'\nadd table ip t\nflush table ip t\nEOF",
  );
  assertEquals(
    shellLine(nftEcho(["list chain ip t c"])),
    "nft -a -e -f - <<'EOF'\nlist chain ip t c\nEOF",
  );
  assertEquals(shellLine(listTables()), "nft -j list tables");
  assertEquals(shellLine(listTable(table)), "nft -j list table inet t");
});

Deno.test("comment() fits into nft: no quotes, 128 bytes, whole characters", () => {
  assertEquals(comment('net: "a", id: "b"'), 'comment "net: a, id: b"');
  assertEquals(comment("é".repeat(65)), `comment "${"é".repeat(64)}"`);
  assertEquals(comment(`${"x".repeat(127)}é`), `comment "${"x".repeat(127)}"`);
});

/** Recorded with nftables 1.0.6. */
const recorded =
  `{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "d", "handle": 1}},
{"map": {"family": "inet", "name": "ports4", "table": "d", "type": ["inet_proto", "inet_service"], "handle": 1, "map": "ipv4_addr . inet_service", "elem": [[{"elem": {"val": {"concat": ["tcp", 8080]}, "comment": "owner"}}, {"concat": ["10.0.0.2", 80]}], [{"concat": ["sctp", 81]}, {"concat": ["10.0.0.3", 80]}]]}},
{"map": {"family": "inet", "name": "hostip4", "table": "d", "type": ["ipv4_addr", "inet_proto", "inet_service"], "handle": 2, "map": "ipv4_addr . inet_service"}},
{"map": {"family": "inet", "name": "ranges4", "table": "d", "type": ["ipv4_addr", "inet_proto", "inet_service"], "handle": 3, "map": "ipv4_addr", "flags": ["interval"], "elem": [[{"elem": {"val": {"concat": [{"prefix": {"addr": "0.0.0.0", "len": 0}}, "udp", {"range": [9000, 9999]}]}, "comment": "owner"}}, "10.0.0.2"]]}},
{"set": {"family": "inet", "name": "masq4", "table": "d", "type": ["ipv4_addr", "ipv4_addr"], "handle": 7, "flags": ["interval"], "elem": [{"elem": {"val": {"concat": [{"prefix": {"addr": "10.0.0.0", "len": 24}}, "10.0.0.2"]}, "comment": "own"}}, {"concat": ["127.0.0.1", "10.0.0.2"]}]}},
{"chain": {"family": "inet", "table": "d", "name": "hostports", "handle": 9}},
{"rule": {"family": "inet", "table": "d", "chain": "hostports", "handle": 17, "comment": "mine", "expr": [{"jump": {"target": "other"}}]}}]}`;

Deno.test("parseListing() reads what a table holds", () => {
  const { tables, chains, rules, elements } = parseListing(recorded);
  assertEquals(tables.map(({ name }) => name), ["d"]);
  assertEquals(chains, ["hostports"]);
  assertEquals(rules, [{
    family: "inet",
    table: "d",
    chain: "hostports",
    handle: 17,
    comment: "mine",
    expr: [{ jump: { target: "other" } }],
  }]);
  assertEquals(elements, [
    { set: "ports4", key: "6 . 8080", comment: "owner", value: "10.0.0.2 . 80" },
    { set: "ports4", key: "132 . 81", comment: undefined, value: "10.0.0.3 . 80" },
    { set: "ranges4", key: "0.0.0.0/0 . 17 . 9000-9999", comment: "owner", value: "10.0.0.2" },
    { set: "masq4", key: "10.0.0.0/24 . 10.0.0.2", comment: "own", value: undefined },
    { set: "masq4", key: "127.0.0.1 . 10.0.0.2", comment: undefined, value: undefined },
  ]);
  assertEquals(parseListing(""), emptyListing);
});

Deno.test("parseNftEcho() tells what was added from what was there", () => {
  const shown = parseNftEcho(`table inet t {
	chain checks { # handle 1
		comment "Checks"
		ip saddr 10.0.0.1 masquerade comment "old, id: one" # handle 6
		ip saddr 10.0.0.2 masquerade comment "new, id: two" # handle 12
		counter packets 0 bytes 0 # handle 7
	}
}
add chain inet t checks # handle 1
add rule inet t checks ip saddr 10.0.0.2 masquerade comment "new, id: two" # handle 12
add rule inet t other handle 12 drop comment "new, id: two" # handle 13
# new generation 4 by process 15662 (nft)
`);
  assertEquals(shown, {
    listed: [{ chain: "checks", comment: "old, id: one", handle: 6 }],
    added: [
      { chain: "checks", comment: "new, id: two", handle: 12 },
      { chain: "other", comment: "new, id: two", handle: 13 },
    ],
  });
  assertEquals(parseNftEcho(""), { added: [], listed: [] });
});
