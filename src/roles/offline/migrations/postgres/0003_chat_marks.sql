CREATE TABLE "chat_marks" (
	"partition" integer PRIMARY KEY NOT NULL,
	"epoch" bigint NOT NULL,
	"turn" bigint NOT NULL,
	"top" bigint NOT NULL,
	"closed" boolean NOT NULL,
	"ceiling" bigint NOT NULL
);
