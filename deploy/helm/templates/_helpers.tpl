{{- define "chatify.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "chatify.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "chatify.selector" . }}
{{- end }}

{{- define "chatify.selector" -}}
app.kubernetes.io/name: chatify
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "chatify.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "chatify.name" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "chatify.secret" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" (include "chatify.name" .)) }}
{{- end }}

{{/* What values.schema.json cannot say: how values go together. */}}
{{- define "chatify.check" -}}
{{- $s := .Values.secrets }}
{{- if $s.existing }}
{{- if or $s.redisUrl $s.clusterSecret $s.apiKeys $s.jwtSecret $s.offlineDatabaseUrl }}
{{- fail "secrets.existing is given, so the other values of secrets must be empty" }}
{{- end }}
{{- else }}
{{- $_ := required "secrets.redisUrl is required, or secrets.existing" $s.redisUrl }}
{{- $_ := required "secrets.clusterSecret is required, or secrets.existing" $s.clusterSecret }}
{{- $_ := required "secrets.apiKeys is required, or secrets.existing" $s.apiKeys }}
{{- if not (or $s.jwtSecret .Values.auth.jwksUrl) }}
{{- fail "secrets.jwtSecret or auth.jwksUrl is required: the gateway checks tokens with it" }}
{{- end }}
{{- if and (eq .Values.offline.database "postgres") (not $s.offlineDatabaseUrl) }}
{{- fail "offline.database is postgres, so secrets.offlineDatabaseUrl is required" }}
{{- end }}
{{- if and (eq .Values.offline.database "sqlite") $s.offlineDatabaseUrl }}
{{- fail "secrets.offlineDatabaseUrl is given, so offline.database must be postgres" }}
{{- end }}
{{- end }}
{{- if eq .Values.offline.database "sqlite" }}
{{- if or (ne (int .Values.offline.replicas) 1) .Values.offline.autoscaling.enabled }}
{{- fail "offline on sqlite is one pod; for more set offline.database to postgres" }}
{{- end }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.enabled needs ingress.host" }}
{{- end }}
{{- end }}
