/** A node id: unique per process incarnation, so a restarted process is another node. */
export type NodeId = string;
