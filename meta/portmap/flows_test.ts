import { assertEquals } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import { formatIp, parseIp } from "../../host/ip.ts";
import { conf } from "./conf.ts";
import { matchingFlows, udpFlowsOf } from "./flows.ts";

Deno.test("udpFlowsOf() names the UDP ports of each family and no other", () => {
  const { portMappings } = decodeOrThrow(conf, {
    runtimeConfig: {
      portMappings: [
        { hostPort: 80, containerPort: 80, protocol: "tcp" },
        { hostPort: 53, containerPort: 53, protocol: "UDP" },
        { hostPort: 54, containerPort: 53, protocol: "udp", hostIP: "192.0.2.1" },
        { hostPort: 55, containerPort: 53, protocol: "udp", hostIP: "::" },
        { hostPort: "60-62", containerPort: 60, protocol: "udp", hostIP: "0.0.0.0" },
        { hostPort: 90, containerPort: 90, protocol: "sctp" },
      ],
    },
  }, "it").runtimeConfig;
  const seen = (families: readonly (4 | 6)[]) =>
    udpFlowsOf(portMappings, families).map(({ family, port, address }) =>
      `${family} ${port}${address ? ` ${formatIp(address)}` : ""}`
    );
  assertEquals(seen([4]), ["4 53", "4 54 192.0.2.1", "4 60", "4 61", "4 62"]);
  assertEquals(seen([6]), ["6 53", "6 55"]);
  assertEquals(seen([4, 6]).length, 7);
  assertEquals(udpFlowsOf(portMappings.slice(0, 1), [4, 6]), []);
});

Deno.test("matchingFlows() leaves out what nobody uses", () => {
  const address = parseIp("192.0.2.1")!;
  const elsewhere = parseIp("192.0.2.9")!;
  const wanted = [
    { family: 4, port: 53 },
    { family: 4, port: 54, address },
    { family: 4, port: 55, address },
    { family: 4, port: 56 },
  ] as const;
  const flows = [
    { address: elsewhere, port: 53 },
    { address, port: 54 },
    { address: elsewhere, port: 55 },
    { address, port: 99 },
  ];
  assertEquals(matchingFlows(wanted, flows).map(({ port }) => port), [53, 54]);
});
