import { assertEquals } from "@std/assert";
import {
  identityLength,
  isOwnedBy,
  networkIdentity,
  nftOwner,
  staleIdentities,
  validIdentities,
} from "./nft_owner.ts";

/** Identities that the reference's own tests hold. */
const identities = [
  ["unit-test", "eth0", "one", "6fd94d501e58f0aa-287fc69eff0574a2"],
  ["unit-test", "eth0", "two", "6fd94d501e58f0aa-d750b2c8f0f25d5f"],
  ["unit-test", "eth0", "three", "6fd94d501e58f0aa-a4d4adb82b669cfe"],
  ["unit-test", "eth0", "four", "6fd94d501e58f0aa-e766de567ef6c543"],
  ["alternate", "net1", "three", "82783ef24bdc7036-acb19d111858e348"],
  ["mynet", "eth0", "dummy", "d23676b4f2d9fe04-678b25cd6528b49d"],
] as const;

for (const [network, ifName, containerId, identity] of identities) {
  Deno.test(`nftOwner() ${network}, ${ifName}, ${containerId}`, async () => {
    const owner = await nftOwner({ network, ifName, containerId });
    assertEquals(owner.identity, identity);
    assertEquals(owner.identity.length, identityLength);
    assertEquals(await networkIdentity(network), identity.slice(0, 16));
    assertEquals(
      owner.comment,
      `${identity}, net: ${network}, if: ${ifName}, id: ${containerId}`,
    );
  });
}

Deno.test("isOwnedBy() goes by the start of a comment, whose end nft may have cut", () => {
  const [, , , identity] = identities[0];
  assertEquals(isOwnedBy({ comment: `${identity}, net: unit-test, if: et` }, identity), true);
  assertEquals(isOwnedBy({ comment: identities[1][3] }, identity), false);
  assertEquals(isOwnedBy({ comment: undefined }, identity), false);
});

Deno.test("staleIdentities() names each of the network's that is not valid, once", async () => {
  const network = "unit-test";
  const objects = [
    ...identities.map(([, , , identity]) => ({ comment: `${identity}, net: …` })),
    { comment: identities[1][3] },
    { comment: "by hand" },
    { comment: undefined },
  ];
  const valid = [
    { network, ifName: "eth0", containerId: "one" },
    { network, ifName: "eth0", containerId: "four" },
  ];
  assertEquals(staleIdentities(objects, await validIdentities({ network, valid })), [
    identities[1][3],
    identities[2][3],
  ]);
});
