package imds

import "testing"

func TestIdentityHasAName(t *testing.T) {
	tests := []struct {
		id    Identity
		want  string
		valid bool
	}{
		{Identity{}, "system-assigned", true},
		{Identity{ClientID: "a"}, "client_id:a", true},
		{Identity{ObjectID: "a"}, "object_id:a", true},
		{Identity{ResourceID: "/subscriptions/a"}, "resource_id:/subscriptions/a", true},
		{Identity{ResourceID: "/Subscriptions/a"}, "resource_id:/Subscriptions/a", true},
		{Identity{Source: "arc"}, "arc/system-assigned", true},
		{Identity{ResourceID: "a"}, "resource_id:a", false},
		{Identity{ClientID: "a", ObjectID: "b"}, "client_id:a", false},
	}
	for _, tt := range tests {
		if got := tt.id.String(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		if err := tt.id.Validate(); (err == nil) != tt.valid {
			t.Errorf("%s: got %v", tt.want, err)
		}
	}
}
