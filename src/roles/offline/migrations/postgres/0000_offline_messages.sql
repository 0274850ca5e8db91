CREATE TABLE "offline_messages" (
	"position" bigserial PRIMARY KEY NOT NULL,
	"user_id" text NOT NULL,
	"msg_id" text NOT NULL,
	"conversation_id" text NOT NULL,
	"seq" bigint NOT NULL,
	"expire_time" bigint NOT NULL,
	"stored_at" bigint NOT NULL,
	"message" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "partition_epochs" (
	"partition" integer PRIMARY KEY NOT NULL,
	"epoch" bigint NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX "offline_messages_user_msg" ON "offline_messages" USING btree ("user_id","msg_id");--> statement-breakpoint
CREATE INDEX "offline_messages_user_position" ON "offline_messages" USING btree ("user_id","position");--> statement-breakpoint
CREATE INDEX "offline_messages_expire" ON "offline_messages" USING btree ("expire_time") WHERE "expire_time" > 0;