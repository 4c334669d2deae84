# The example client of document A ("Account Health Check"), quoted unmodified.
class AccountManager:
    def __init__(self, api_key):
        self.api_key = api_key
        self.base_url = "https://api.audiopod.ai/api/v1"
        self.headers = {"Authorization": f"Bearer {api_key}"}
    
    def get_account_health(self):
        """Get comprehensive account status"""
        try:
            # Validate session
            session_response = requests.get(
                f"{self.base_url}/auth/session/validate",
                headers=self.headers
            )
            
            if session_response.status_code != 200:
                return {"status": "invalid_session", "healthy": False}
            
            session_data = session_response.json()
            
            # Get user profile
            profile_response = requests.get(
                f"{self.base_url}/auth/me",
                headers=self.headers
            )
            
            if profile_response.status_code != 200:
                return {"status": "profile_error", "healthy": False}
            
            user_data = profile_response.json()
            
            # Check account completeness
            completeness_score = self._calculate_completeness(user_data)
            
            # Check credit balance
            credits = user_data.get('credits', {})
            low_credits = credits.get('total_available_credits', 0) < 100
            
            return {
                "status": "healthy",
                "healthy": True,
                "session_valid": session_data["is_valid"],
                "needs_refresh": session_data.get("needs_refresh", False),
                "account_verified": user_data["is_verified"],
                "phone_verified": user_data.get("phone_verified", False),
                "onboarding_complete": user_data.get("onboarding_completed", False),
                "completeness_score": completeness_score,
                "low_credits_warning": low_credits,
                "credits_available": credits.get('total_available_credits', 0)
            }
        
        except Exception as e:
            return {"status": "error", "healthy": False, "error": str(e)}
    
    def _calculate_completeness(self, user_data):
        """Calculate profile completeness score"""
        fields_to_check = [
            'full_name', 'user_type', 'audio_usage', 
            'phone_number', 'phone_verified'
        ]
        
        completed_fields = 0
        for field in fields_to_check:
            if field in user_data and user_data[field]:
                completed_fields += 1
        
        return (completed_fields / len(fields_to_check)) * 100
    
    def ensure_phone_verified(self, phone_number, country_code="US"):
        """Ensure phone number is verified"""
        try:
            # Send verification code
            verify_response = requests.post(
                f"{self.base_url}/auth/send-phone-verification",
                headers=self.headers,
                json={
                    "phone_number": phone_number,
                    "country_code": country_code
                }
            )
            
            if verify_response.status_code == 200:
                return {
                    "verification_sent": True,
                    "message": "Verification code sent to phone"
                }
            else:
                return {
                    "verification_sent": False,
                    "error": verify_response.json()
                }
        
        except Exception as e:
            return {"verification_sent": False, "error": str(e)}
