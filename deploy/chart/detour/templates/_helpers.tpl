{{- define "detour.name" -}}
{{- .Values.nameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "detour.labels" -}}
app.kubernetes.io/name: detour
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "detour.image" -}}
{{- with .Values.image -}}
{{- if .registry }}{{ .registry }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "detour.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where what listens at metrics.bind is asked from the node itself: no wildcard, no brackets. */}}
{{- define "detour.listenHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" .Values.metrics.bind "" | trimPrefix "[" | trimSuffix "]" -}}
{{- if has $host (list "" "0.0.0.0") -}}127.0.0.1{{- else if eq $host "::" -}}::1{{- else -}}{{ $host }}{{- end -}}
{{- end -}}

{{- define "detour.listenPort" -}}
{{- last (splitList ":" .Values.metrics.bind) -}}
{{- end -}}

{{/* Every container: uid 0, to write what root owns on the node, and no capability at all. */}}
{{- define "detour.securityContext" -}}
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Linux nodes that are there: behind virtual ones is no directory to write and no plugin to call. */}}
{{- define "detour.realNode" -}}
- {key: kubernetes.io/os, operator: In, values: [linux]}
- {key: type, operator: NotIn, values: [virtual-kubelet]}
- {key: eks.amazonaws.com/compute-type, operator: NotIn, values: [fargate]}
{{- end -}}

{{/* An affinity, each of whose node terms is kept to such nodes: terms are alternatives, what is in one must all hold. */}}
{{- define "detour.affinity" -}}
{{- $affinity := deepCopy (. | default dict) -}}
{{- $node := $affinity.nodeAffinity | default dict -}}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict -}}
{{- $terms := list -}}
{{- range $required.nodeSelectorTerms | default (list dict) -}}
{{- $terms = append $terms (merge (dict "matchExpressions" (concat (include "detour.realNode" $ | fromYamlArray) (.matchExpressions | default list))) .) -}}
{{- end -}}
{{- $required = merge (dict "nodeSelectorTerms" $terms) $required -}}
{{- $node = merge (dict "requiredDuringSchedulingIgnoredDuringExecution" $required) $node -}}
{{- toYaml (merge (dict "nodeAffinity" $node) $affinity) -}}
{{- end -}}
