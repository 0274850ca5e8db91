CREATE TABLE `offline_messages` (
	`position` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`user_id` text NOT NULL,
	`msg_id` text NOT NULL,
	`conversation_id` text NOT NULL,
	`seq` integer NOT NULL,
	`expire_time` integer NOT NULL,
	`stored_at` integer NOT NULL,
	`message` text NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `offline_messages_user_msg` ON `offline_messages` (`user_id`,`msg_id`);--> statement-breakpoint
CREATE INDEX `offline_messages_user_position` ON `offline_messages` (`user_id`,`position`);--> statement-breakpoint
CREATE INDEX `offline_messages_expire` ON `offline_messages` (`expire_time`) WHERE "expire_time" > 0;--> statement-breakpoint
CREATE TABLE `partition_epochs` (
	`partition` integer PRIMARY KEY NOT NULL,
	`epoch` integer NOT NULL
);
