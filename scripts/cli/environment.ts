/** Single variables of the environment, read by the schemas of the configuration itself. */
import { VARIABLES, type VariableName } from "../../src/core/config.ts";
import { CliError } from "./command.ts";

type Value<Name extends VariableName> = ReturnType<(typeof VARIABLES)[Name]["schema"]["parse"]>;

/** Throws with what the variable takes; its value is not repeated, because it may be a secret. */
export function environment<Name extends VariableName>(name: Name): Value<Name> {
  const { schema, takes } = VARIABLES[name];
  const got = process.env[name] === "" ? undefined : process.env[name];
  const result = schema.safeParse(got);
  if (result.success) return result.data as Value<Name>;
  throw new CliError("bad_request", `${name} in the environment is wrong; it takes ${takes}`);
}
