CREATE TABLE `window_segments` (
	`partition` integer NOT NULL,
	`name` text NOT NULL,
	`expire_at` integer NOT NULL,
	`records` text NOT NULL,
	PRIMARY KEY(`partition`, `name`)
);
--> statement-breakpoint
CREATE INDEX `window_segments_expire` ON `window_segments` (`expire_at`);