/** Imported as files: what comes in is a path, in the source tree or in the executable. */
declare module "swagger-ui-dist/*" {
  const path: string;
  export default path;
}
