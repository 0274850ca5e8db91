CREATE TABLE `ledger_segments` (
	`position` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`node` text NOT NULL,
	`number` integer NOT NULL,
	`from_ms` integer NOT NULL,
	`to_ms` integer NOT NULL,
	`events` integer NOT NULL,
	`bytes` integer NOT NULL,
	`filter` blob NOT NULL,
	`body` blob NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `ledger_segments_node_number` ON `ledger_segments` (`node`,`number`);--> statement-breakpoint
CREATE INDEX `ledger_segments_to` ON `ledger_segments` (`to_ms`);--> statement-breakpoint
DROP INDEX `offline_messages_user_msg`;--> statement-breakpoint
CREATE UNIQUE INDEX `offline_messages_msg_user` ON `offline_messages` (`msg_id`,`user_id`);