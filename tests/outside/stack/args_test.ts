/** The command line of `dev`. */
import assert from "node:assert/strict";
import { parseArgs, UsageError } from "../../stack/args.ts";

const NONE = {
  help: false,
  once: false,
  json: false,
  gateway: null,
  scenario: null,
  settings: [],
  port: 54321,
  database: null,
  migrate: false,
};

/** Parses a line whose words have no spaces in them. */
const parse = (line: string) => parseArgs(line.split(" "));

Deno.test("dev arguments: what they mean", () => {
  assert.deepEqual(parseArgs([]), NONE);
  assert.deepEqual(
    parse(
      "--once --json --port 0 --migrate --database postgres://u:p@h/d " +
        "--set a=1 --set=b=x=y --set c=",
    ),
    {
      ...NONE,
      once: true,
      json: true,
      port: 0,
      migrate: true,
      database: "postgres://u:p@h/d",
      settings: [
        { name: "a", value: "1" },
        { name: "b", value: "x=y" },
        { name: "c", value: "" },
      ],
    },
  );
  // It listens for itself alone.
  assert.deepEqual(parse("--scenario list --json"), {
    ...NONE,
    json: true,
    scenario: "list",
    port: 0,
  });
  assert.equal(parse("--scenario fight --port 1").port, 1);
  const name = "Pousada São João / recepção";
  const { gateway } = parseArgs([
    ...["--gateway", "https://g.example/x", "--key", "k"],
    ...["--instance", name, "--instance=--odd"],
  ]);
  assert.deepEqual(gateway, { url: "https://g.example/x", key: "k", instances: [name, "--odd"] });
});

Deno.test("dev arguments: what is wrong with them", () => {
  const wrong: [string, RegExp][] = [
    ["--nope", /unknown argument: --nope/],
    ["once", /unknown argument: once/],
    ["--port", /--port needs a value/],
    ["--port --once", /--port needs a value/],
    ["--port 70000", /up to 65535/],
    ["--port x", /up to 65535/],
    ["--port 1 --port 2", /given twice/],
    ["--once=yes", /takes no value/],
    ["--set x", /NAME=VALUE/],
    ["--database mysql://x", /postgres:/],
    ["--key k", /--key needs --gateway/],
    ["--instance i", /--instance needs --gateway/],
    ["--scenario", /--scenario needs a value/],
    ["--scenario x --gateway http://x --key k --instance i", /does not go with --gateway/],
    ["--scenario x --database postgres://x", /does not go with --database/],
    ["--scenario x --once", /does not go with --once/],
    ["--gateway ftp://x --key k --instance i", /http/],
    ["--gateway http://x --instance i", /needs --key/],
    ["--gateway http://x --key k", /at least one --instance/],
  ];
  for (const [line, message] of wrong) {
    assert.throws(() => parse(line), (error) => {
      assert(error instanceof UsageError, line);
      assert.match(error.message, message);
      return true;
    });
  }
});
