import { assertEquals } from "@std/assert";
import { picture } from "./picture.ts";

Deno.test("picture shows a chain of interfaces from the host into the container", () => {
  const drawn = picture({
    cniVersion: "1.1.0",
    interfaces: [
      { name: "cni0", mac: "02:00:00:00:00:01" },
      { name: "veth12345678" },
      { name: "eth0", mac: "0a:58:0a:58:00:02", mtu: 1500, sandbox: "/run/netns/web" },
    ],
    ips: [
      { interface: 2, address: "10.88.0.2/16", gateway: "10.88.0.1" },
      { interface: 2, address: "fd00::2/64" },
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.88.0.1" }, { dst: "10.9.0.0/16", priority: 5 }],
    dns: { nameservers: ["1.1.1.1"], search: ["example.org"] },
  }, "/run/netns/web");
  assertEquals(
    drawn,
    `  host                    │   /run/netns/web
  cni0 ── veth12345678 ───┼── eth0  0a:58:0a:58:00:02  mtu 1500
                          │   10.88.0.2/16  gateway 10.88.0.1
                          │   fd00::2/64
                          │   route default (0.0.0.0/0) via 10.88.0.1
                          │   route 10.9.0.0/16 metric 5
                          │   dns servers 1.1.1.1  search example.org
`,
  );
});

Deno.test("picture of a result without host interfaces draws no line between", () => {
  const drawn = picture({
    cniVersion: "1.0.0",
    interfaces: [{ name: "lo", sandbox: "/run/netns/web" }],
    ips: [{ interface: 0, address: "127.0.0.1/8" }],
  }, "/run/netns/web");
  assertEquals(
    drawn,
    `  host │   /run/netns/web
       │   lo
       │   127.0.0.1/8
`,
  );
});

Deno.test("picture of the oldest results shows their addresses", () => {
  const drawn = picture({ cniVersion: "0.2.0", ip4: { ip: "10.1.2.3/24" } }, "");
  assertEquals(
    drawn,
    `  host │   container
       │   10.1.2.3/24
`,
  );
});
