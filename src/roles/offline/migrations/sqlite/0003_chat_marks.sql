CREATE TABLE `chat_marks` (
	`partition` integer PRIMARY KEY NOT NULL,
	`epoch` integer NOT NULL,
	`turn` integer NOT NULL,
	`top` integer NOT NULL,
	`closed` integer NOT NULL,
	`ceiling` integer NOT NULL
);
