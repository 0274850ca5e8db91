CREATE TABLE "ledger_segments" (
	"position" bigserial PRIMARY KEY NOT NULL,
	"node" text NOT NULL,
	"number" bigint NOT NULL,
	"from_ms" bigint NOT NULL,
	"to_ms" bigint NOT NULL,
	"events" integer NOT NULL,
	"bytes" integer NOT NULL,
	"filter" "bytea" NOT NULL,
	"body" "bytea" NOT NULL
);
--> statement-breakpoint
DROP INDEX "offline_messages_user_msg";--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_segments_node_number" ON "ledger_segments" USING btree ("node","number");--> statement-breakpoint
CREATE INDEX "ledger_segments_to" ON "ledger_segments" USING btree ("to_ms");--> statement-breakpoint
CREATE UNIQUE INDEX "offline_messages_msg_user" ON "offline_messages" USING btree ("msg_id","user_id");