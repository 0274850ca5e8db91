/** A script imported with `{ type: "text" }`. */
declare module "*.lua" {
  const text: string;
  export default text;
}
