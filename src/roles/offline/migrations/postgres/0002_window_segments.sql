CREATE TABLE "window_segments" (
	"partition" integer NOT NULL,
	"name" text NOT NULL,
	"expire_at" bigint NOT NULL,
	"records" text NOT NULL,
	CONSTRAINT "window_segments_partition_name_pk" PRIMARY KEY("partition","name")
);
--> statement-breakpoint
CREATE INDEX "window_segments_expire" ON "window_segments" USING btree ("expire_at");